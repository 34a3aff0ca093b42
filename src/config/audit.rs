//! The configuration of the audit log: `[audit]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::wrong;
use crate::audit::{self, Commit, WhenFull};
use crate::base::Result;

/// Where and how requests are recorded.
pub struct Audit {
    /// The folder of the audit logs.
    pub directory: PathBuf,
    /// When a record is on the disk.
    pub commit: Commit,
    /// What happens while records cannot be written.
    pub when_full: WhenFull,
    /// For how long they are kept.
    pub retention: Duration,
    /// From how many bytes on a segment is followed by another.
    pub segment: u64,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditTable {
    directory: Option<PathBuf>,
    commit: Option<CommitName>,
    when_full: Option<WhenFullName>,
    retention_days: Option<u32>,
    segment_mib: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum CommitName {
    BeforeAnswer,
    Buffered,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WhenFullName {
    Refuse,
    Continue,
}

/// Beside the database unless another folder is named.
pub(super) fn audit(table: AuditTable, data_dir: &Path, folder: &Path) -> Result<Audit> {
    let at_least_one = |name: &str, value: Option<u32>, default: u32| match value {
        Some(0) => Err(wrong(format!("{name} of [audit] is at least 1."))),
        value => Ok(u64::from(value.unwrap_or(default))),
    };
    let days = at_least_one("retention_days", table.retention_days, audit::RETENTION_DAYS)?;
    let segment = match table.segment_mib {
        None => audit::SEGMENT,
        given => at_least_one("segment_mib", given, 1)? * 1024 * 1024,
    };
    Ok(Audit {
        directory: table.directory.map_or_else(|| data_dir.join("audit"), |directory| folder.join(directory)),
        commit: match table.commit {
            None | Some(CommitName::Buffered) => Commit::Buffered,
            Some(CommitName::BeforeAnswer) => Commit::BeforeAnswer,
        },
        when_full: match table.when_full {
            None | Some(WhenFullName::Refuse) => WhenFull::Refuse,
            Some(WhenFullName::Continue) => WhenFull::Continue,
        },
        retention: Duration::from_secs(days * 86_400),
        segment,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(table: &str) -> Result<Audit> {
        let data_dir = Path::new("/srv/data");
        super::audit(toml::from_str(table).map_err(|error| wrong(error.message().to_owned()))?, data_dir, Path::new("/srv"))
    }

    #[test]
    fn the_audit_log_has_defaults_and_may_be_elsewhere() {
        let audit = parse("").unwrap();
        assert_eq!(audit.directory, Path::new("/srv/data/audit"));
        assert_eq!((audit.commit, audit.when_full), (Commit::Buffered, WhenFull::Refuse));
        assert_eq!((audit.retention.as_secs() / 86_400, audit.segment), (180, 64 << 20));
        let all = "directory = \"log\"\ncommit = \"before-answer\"\nwhen_full = \"continue\"\nretention_days = 1\nsegment_mib = 2";
        let audit = parse(all).unwrap();
        assert_eq!(audit.directory, Path::new("/srv/log"));
        assert_eq!((audit.commit, audit.when_full), (Commit::BeforeAnswer, WhenFull::Continue));
        assert_eq!((audit.retention.as_secs(), audit.segment), (86_400, 2 << 20));
        for (wrong, said) in [
            ("retention_days = 0", "retention_days"),
            ("segment_mib = 0", "segment_mib"),
            ("commit = \"later\"", "later"),
            ("enabled = false", "enabled"),
        ] {
            let text = parse(wrong).err().expect("it is refused").message().to_owned();
            assert!(text.contains(said), "{said} is not in: {text}");
        }
    }
}
