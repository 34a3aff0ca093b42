//! What the system says of the server's process.

use std::time::Duration;

/// Clock ticks of /proc a second: the kernel's USER_HZ, the same on all of Linux's usual machines.
const TICKS: f64 = 100.0;

/// How long the process has been on a core, in user and in kernel mode.
pub fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the server runs");
    // The name in parentheses may have blanks in it.
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().expect("a number");
    Duration::from_secs_f64((ticks(11) + ticks(12)) / TICKS)
}

/// Its memory that is resident, in MiB.
pub fn resident(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the server runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).expect("a number").parse::<f64>().expect("KiB") / 1024.0
}
