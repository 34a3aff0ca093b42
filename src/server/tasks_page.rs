//! How the process is: its lines in `/readyz` for work that panicked, and the metrics of its work and its log.

use super::exposition::{Exposition, Labels, Type};
use crate::base::supervisor::{Doing, Supervised};

/// What `/readyz` says of work that panicked since the start: a fault of this program, to be told to whoever makes it.
pub(super) fn lines(work: &[Supervised]) -> String {
    let panicked = work.iter().filter(|work| work.restarts > 0);
    let line = |Supervised { name, doing, restarts }: &Supervised| {
        let now = match doing {
            Doing::Running => "was started again",
            Doing::Restarting => "is being started again",
        };
        format!("task {name}: panicked {restarts} times since the start and {now}; the log says where\n")
    };
    panicked.map(line).collect()
}

/// Writes their families.
pub(super) fn write(work: &[Supervised], dropped: Option<u64>, page: &mut Exposition) {
    let mut family = page.family("keystead_task_restarts_total", Type::Counter, "How often a task panicked and was started again.");
    for task in work {
        family.sample(&Labels::default().with("task", &task.name), task.restarts);
    }
    if let Some(dropped) = dropped {
        let help = "Lines of the log that were dropped, because nobody read them or they could not be written.";
        page.family("keystead_log_lines_dropped_total", Type::Counter, help).sample(&Labels::default(), dropped);
    }
}
