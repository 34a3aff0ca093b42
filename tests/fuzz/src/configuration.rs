//! The configuration: what is read holds no value that the service could not run with.

use std::collections::HashSet;
use std::path::Path;
use std::time::Instant;

use keystead::config::{Config, Keys};

use super::{Verdict, text};

pub fn check(input: &[u8]) -> Verdict {
    let Some(text) = text(input) else { return Verdict::Refused };
    let folder = Path::new("/etc/keystead");
    let config = match Config::parse(text, folder) {
        Ok(config) => config,
        Err(error) => {
            // One line, and if it names one of the file, the file has it.
            let said = error.message();
            assert!(!said.is_empty() && !said.contains('\n'), "{said:?}");
            if let Some((line, _)) = said.strip_prefix("line ").and_then(|rest| rest.split_once(':')) {
                let line: usize = line.parse().expect("a number");
                assert!((1..=text.split('\n').count()).contains(&line), "{said:?}");
            }
            return Verdict::Refused;
        }
    };
    assert!(config.data_dir.is_absolute() && config.root_key_file.is_absolute());
    let ids: HashSet<_> = config.instances.iter().map(|instance| instance.id.clone()).collect();
    assert!(!ids.is_empty() && ids.len() == config.instances.len());
    assert!(config.default_instances.iter().all(|(_, id)| ids.contains(id)) && config.default_instances.iter().count() <= 2);
    for instance in &config.instances {
        let names: HashSet<_> = instance.endpoint.names.iter().collect();
        assert_eq!(names.len(), instance.endpoint.names.len());
        if let Keys::Hardware(slot) = &instance.keys {
            assert!(slot.module.is_absolute());
            // More are not opened, kept waiting or waited for anywhere: memory and clocks end before.
            assert!((1..=10_000).contains(&slot.sessions), "{} sessions", slot.sessions);
            assert!(slot.queue <= 1_000_000 && slot.written_off <= 10_000, "{} {}", slot.queue, slot.written_off);
            for duration in [slot.deadline, slot.keepalive] {
                assert!(!duration.is_zero() && Instant::now().checked_add(duration).is_some(), "{duration:?}");
            }
        }
    }
    Verdict::Taken
}
