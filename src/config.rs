//! The configuration: one TOML file, unknown fields refused, every secret by reference.
//!
//! The only place that knows the file's form. What is read is parsed into types that cannot hold a wrong value; relative paths are
//! relative to the folder of the file.

mod alerts;
mod audit;
mod dates;
mod defaults;
mod limits;
mod pin;
mod proxies;

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::base::{Error, Kind, Result, Timestamp};
use crate::model::InstanceId;
use crate::model::instance::{DefaultInstances, InstanceKind};
use crate::model::limits::Limits;
use crate::model::proxies::Proxies;
use crate::model::quota::KeyQuota;
use crate::tier::pkcs11::{self, FlagsPolicy, LoginNotes, OaepPolicy, Oversubscription, TokenUri};

pub use alerts::Alerts;
pub use audit::Audit;
pub use pin::PinSource;
use proxies::{ProxiesTable, proxies};

/// The most sessions of a slot, and threads of it that may hang: far more than any HSM gives to one application.
const MOST_SESSIONS: u64 = 10_000;
/// The most callers that may wait for a slot: each holds a connection and the body of its request.
const MOST_WAITING: u64 = 1_000_000;
/// The longest deadline: one hour. Clients give up after seconds.
const LONGEST_DEADLINE_MS: u64 = 60 * 60 * 1000;
/// The longest time without use: one day.
const LONGEST_KEEPALIVE_S: u64 = 24 * 60 * 60;

/// Everything that is configured.
pub struct Config {
    /// Where the database and the lock are.
    pub data_dir: PathBuf,
    /// The key that the database's secrets are sealed under.
    pub root_key_file: PathBuf,
    /// The shared gateway.
    pub shared: Endpoint,
    /// The Security Token Service, which hands out temporary credentials.
    pub sts: Option<Endpoint>,
    /// Where CreateKey without DKMSInstanceId makes its keys.
    pub default_instances: DefaultInstances,
    /// Health and metrics.
    pub telemetry: Option<SocketAddr>,
    /// Where and how requests are recorded.
    pub audit: Audit,
    /// Where alerts are sent, if anywhere.
    pub alerts: Option<Alerts>,
    /// What is served, at least one.
    pub instances: Vec<Instance>,
    /// What is served as it stands and should be written otherwise, a sentence each.
    pub remarks: Vec<String>,
}

/// An address to serve on.
pub struct Endpoint {
    /// Port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The names and addresses of its certificate.
    pub names: Vec<String>,
    /// What stands before it, and how that says who called.
    pub proxies: Proxies,
    /// How many requests a second it serves.
    pub limits: Limits,
}

/// An instance.
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// What a person calls it.
    pub name: String,
    /// Where it is served.
    pub endpoint: Endpoint,
    /// What holds its keys.
    pub keys: Keys,
    /// How many key versions it may hold, if that is bounded.
    pub key_quota: Option<KeyQuota>,
    /// Until when Decrypt opens what earlier versions of Keystead bound to less than the context that is given.
    pub unbound_until: Option<Timestamp>,
}

/// What holds an instance's keys.
pub enum Keys {
    /// A token.
    Hardware(Box<Slot>),
    /// The process.
    Software,
}

impl Keys {
    /// The kind of instance that it makes.
    pub fn kind(&self) -> InstanceKind {
        match self {
            Self::Hardware(_) => InstanceKind::Hardware,
            Self::Software => InstanceKind::Software,
        }
    }
}

/// A token and how it is used.
pub struct Slot {
    /// The library.
    pub module: PathBuf,
    /// Which token.
    pub uri: TokenUri,
    /// Where its PIN comes from.
    pub pin: PinSource,
    /// The most sessions that work at once.
    pub sessions: usize,
    /// Whether so many work in a module that computes on this machine's cores: if the file says how many.
    pub oversubscription: Oversubscription,
    /// The most callers that wait.
    pub queue: usize,
    /// How long a call may take.
    pub deadline: Duration,
    /// Calls that may hang at once before the slot is down.
    pub written_off: usize,
    /// How long a session may be idle before it is used once.
    pub keepalive: Duration,
    /// What the token's word about its PIN does.
    pub pin_flags: FlagsPolicy,
    /// What happens when the token lacks a hash of RSA-OAEP.
    pub oaep: OaepPolicy,
}

impl Slot {
    /// What the tier needs. The PIN is read at each login.
    pub fn settings(&self, login_notes: Arc<dyn LoginNotes>) -> pkcs11::Settings {
        pkcs11::Settings {
            module: self.module.clone(),
            token: self.uri.clone(),
            pin: Arc::new(self.pin.clone()),
            login_notes,
            login_pause: pkcs11::LOGIN_PAUSE,
            pin_flags: self.pin_flags,
            sessions: self.sessions,
            oversubscription: self.oversubscription,
            queue: self.queue,
            deadline: self.deadline,
            generation_deadline: pkcs11::GENERATION_DEADLINE,
            written_off: self.written_off,
            keepalive: self.keepalive,
            oaep: self.oaep,
            relief: None,
        }
    }
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    data_dir: PathBuf,
    root_key_file: PathBuf,
    shared: SharedTable,
    sts: Option<StsTable>,
    telemetry: Option<TelemetryTable>,
    #[serde(default)]
    audit: audit::AuditTable,
    alerts: Option<alerts::AlertsTable>,
    #[serde(default)]
    instance: Vec<InstanceTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SharedTable {
    listen: SocketAddr,
    #[serde(default)]
    names: Vec<String>,
    default_instances: Option<Vec<String>>,
    /// The older form.
    default_instance: Option<String>,
    proxies: Option<ProxiesTable>,
    limits: Option<limits::SharedLimitsTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StsTable {
    listen: SocketAddr,
    #[serde(default)]
    names: Vec<String>,
    proxies: Option<ProxiesTable>,
    limits: Option<limits::StsLimitsTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TelemetryTable {
    listen: SocketAddr,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InstanceTable {
    id: String,
    name: String,
    kind: String,
    listen: SocketAddr,
    #[serde(default)]
    names: Vec<String>,
    proxies: Option<ProxiesTable>,
    unbound_until: Option<dates::Date>,
    slot: Option<SlotTable>,
    quota: Option<limits::QuotaTable>,
    limits: Option<limits::InstanceLimitsTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SlotTable {
    module: PathBuf,
    uri: String,
    pin_file: Option<PathBuf>,
    pin_credential: Option<String>,
    pin_command: Option<Vec<String>>,
    sessions: Option<usize>,
    queue: Option<usize>,
    deadline_ms: Option<u64>,
    written_off: Option<usize>,
    keepalive_s: Option<u64>,
    pin_flags: Option<PinFlags>,
    oaep: Option<Oaep>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Oaep {
    Assisted,
    TokenOnly,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum PinFlags {
    Obey,
    Ignore,
}

fn wrong(text: String) -> Error {
    Error::new(Kind::InvalidParameter, text)
}

impl Config {
    /// Reads the file.
    ///
    /// # Errors
    /// [`Kind::InvalidParameter`] or [`Kind::Unavailable`] with one line that names the file, the line in it, and what is wrong.
    pub fn load(path: &Path) -> Result<Self> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| {
            let hint = "--config names another; for a new installation `keystead init` writes one";
            Error::new(Kind::Unavailable, format!("The configuration {shown} cannot be read: {error} ({hint})."))
        })?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Self::parse(&text, folder).map_err(|error| wrong(format!("{shown}: {}", error.message())))
    }

    /// Reads the text of a file; relative paths are relative to `folder`.
    ///
    /// # Errors
    /// As [`Config::load`], without the file's name.
    pub fn parse(text: &str, folder: &Path) -> Result<Self> {
        let file: File = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            wrong(format!("line {line}: {}.", error.message().trim_end().replace('\n', " ")))
        })?;
        let at = |path: PathBuf| folder.join(path);
        if file.instance.is_empty() {
            return Err(wrong("there is no [[instance]].".to_owned()));
        }
        let instances = file.instance.into_iter().map(|table| instance(table, folder)).collect::<Result<Vec<_>>>()?;
        let ids: HashSet<_> = instances.iter().map(|instance| &instance.id).collect();
        if ids.len() < instances.len() {
            return Err(wrong("two instances have the same id.".to_owned()));
        }
        let mut remarks = Vec::new();
        let (list, one) = (file.shared.default_instances, file.shared.default_instance);
        let default_instances = defaults::default_instances(list, one, &instances, &mut remarks)?;
        let data_dir = at(file.data_dir);
        Ok(Self {
            audit: audit::audit(file.audit, &data_dir, folder)?,
            alerts: file.alerts.map(|table| alerts::alerts(table, folder)).transpose()?,
            data_dir,
            root_key_file: at(file.root_key_file),
            shared: endpoint(
                file.shared.listen,
                file.shared.names,
                proxies(file.shared.proxies, "shared")?,
                limits::shared_limits(file.shared.limits)?,
            ),
            sts: file.sts.map(sts).transpose()?,
            default_instances,
            telemetry: file.telemetry.map(|telemetry| telemetry.listen),
            instances,
            remarks,
        })
    }
}

fn sts(table: StsTable) -> Result<Endpoint> {
    Ok(endpoint(table.listen, table.names, proxies(table.proxies, "sts")?, limits::sts_limits(table.limits)?))
}

fn instance(table: InstanceTable, folder: &Path) -> Result<Instance> {
    let id: InstanceId = table.id.parse()?;
    let keys = match (table.kind.parse()?, table.slot) {
        (InstanceKind::Hardware, Some(table)) => Keys::Hardware(Box::new(slot(table, folder, &id)?)),
        (InstanceKind::Software, None) => Keys::Software,
        (InstanceKind::Hardware, None) => {
            return Err(wrong(format!("the instance {id} of the kind Hardware has no [instance.slot].")));
        }
        (InstanceKind::Software, Some(_)) => {
            return Err(wrong(format!("the instance {id} of the kind Software has an [instance.slot].")));
        }
    };
    let mut endpoint =
        endpoint(table.listen, table.names, proxies(table.proxies, "instance")?, limits::instance_limits(table.limits)?);
    // Some clients look at the end of the name; a line in their hosts file then suffices. Only our own CA signs for it.
    endpoint.names.push(format!("{id}.cryptoservice.kms.aliyuncs.com"));
    let key_quota = limits::key_quota(table.quota, &id)?;
    let unbound_until = table.unbound_until.map(|date| dates::begin_of(&date, "unbound_until", &id)).transpose()?;
    Ok(Instance { id, name: table.name, endpoint, keys, key_quota, unbound_until })
}

fn slot(table: SlotTable, folder: &Path, id: &InstanceId) -> Result<Slot> {
    let pin = match (table.pin_file, table.pin_credential, table.pin_command) {
        (Some(path), None, None) => PinSource::File(folder.join(path)),
        (None, Some(name), None) => PinSource::Credential(name),
        (None, None, Some(command)) if !command.is_empty() => PinSource::Command(command),
        _ => return Err(wrong(format!("the slot of {id} has exactly one of pin_file, pin_credential and pin_command."))),
    };
    let within = |name: &str, value: Option<u64>, range: RangeInclusive<u64>| match value {
        Some(value) if !range.contains(&value) => {
            Err(wrong(format!("{name} of the slot of {id} is between {} and {}.", range.start(), range.end())))
        }
        value => Ok(value),
    };
    let count = |name: &str, value: Option<usize>, range: RangeInclusive<u64>, default: usize| {
        within(name, value.map(|value| value as u64), range).map(|_| value.unwrap_or(default))
    };
    Ok(Slot {
        module: folder.join(table.module),
        uri: table.uri.parse()?,
        pin,
        sessions: count("sessions", table.sessions, 1..=MOST_SESSIONS, pkcs11::SESSIONS)?,
        oversubscription: match table.sessions {
            Some(_) => Oversubscription::Allow,
            None => Oversubscription::Avoid,
        },
        queue: count("queue", table.queue, 0..=MOST_WAITING, pkcs11::QUEUE)?,
        deadline: within("deadline_ms", table.deadline_ms, 1..=LONGEST_DEADLINE_MS)?
            .map_or(pkcs11::DEADLINE, Duration::from_millis),
        written_off: count("written_off", table.written_off, 0..=MOST_SESSIONS, pkcs11::WRITTEN_OFF)?,
        keepalive: within("keepalive_s", table.keepalive_s, 1..=LONGEST_KEEPALIVE_S)?
            .map_or(pkcs11::KEEPALIVE, Duration::from_secs),
        pin_flags: match table.pin_flags {
            None | Some(PinFlags::Obey) => FlagsPolicy::Obey,
            Some(PinFlags::Ignore) => FlagsPolicy::Ignore,
        },
        oaep: match table.oaep {
            None | Some(Oaep::Assisted) => OaepPolicy::Assisted,
            Some(Oaep::TokenOnly) => OaepPolicy::TokenOnly,
        },
    })
}

/// The address itself is a name of the certificate, and on a loopback address so is localhost.
fn endpoint(listen: SocketAddr, mut names: Vec<String>, proxies: Proxies, limits: Limits) -> Endpoint {
    if !listen.ip().is_unspecified() {
        names.push(listen.ip().to_string());
    }
    if listen.ip().is_loopback() || listen.ip().is_unspecified() {
        names.extend(["localhost".to_owned(), "127.0.0.1".to_owned(), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]).to_string()]);
    }
    let mut seen = HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    Endpoint { listen, names, proxies, limits }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::model::limits::Group;

    const GOOD: &str = r#"
data_dir = "data"
root_key_file = "/etc/keystead/root.key"
[shared]
listen = "127.0.0.1:9443"
[[instance]]
id = "kst-aaaaaaaaaaaaaaaaaaaaa"
name = "payments"
kind = "Hardware"
listen = "0.0.0.0:0"
names = ["payments.example.com"]
[instance.slot]
module = "/usr/lib/softhsm/libsofthsm2.so"
uri = "pkcs11:token=keystead"
pin_file = "pin.txt"
"#;

    fn refusal(text: &str) -> String {
        Config::parse(text, Path::new("/etc/keystead")).err().expect("it is refused").message().to_owned()
    }

    /// The sample of the README, as it stands there.
    #[test]
    fn the_readmes_sample_parses() {
        let readme = include_str!("../README.md");
        let sample = readme.split("```toml\n").find(|block| block.starts_with("data_dir")).unwrap().split("```").next().unwrap();
        let config = Config::parse(sample, Path::new("/etc/keystead")).unwrap();
        assert_eq!(config.instances.len(), 2);
        assert_eq!(config.sts.as_ref().unwrap().listen.port(), 9447);
        assert_eq!(config.shared.names[0], "kms.example.com");
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let config = Config::parse(GOOD, Path::new("/srv")).unwrap();
        assert_eq!(config.data_dir, Path::new("/srv/data"));
        assert_eq!(config.root_key_file, Path::new("/etc/keystead/root.key"));
        let Keys::Hardware(slot) = &config.instances[0].keys else { panic!("it is hardware") };
        assert!(matches!(&slot.pin, PinSource::File(path) if path == Path::new("/srv/pin.txt")));
        assert_eq!((slot.sessions, slot.queue, slot.deadline), (64, 1024, Duration::from_secs(8)));
        let names = &config.instances[0].endpoint.names;
        for name in ["payments.example.com", "localhost", "127.0.0.1", "kst-aaaaaaaaaaaaaaaaaaaaa.cryptoservice.kms.aliyuncs.com"] {
            assert!(names.iter().any(|known| known == name), "{name}");
        }
    }

    #[test]
    fn what_is_bound_to_no_context_opens_until_a_date_that_is_configured() {
        let until = |text: &str| Config::parse(text, Path::new("/srv")).unwrap().instances[0].unbound_until;
        assert_eq!(until(GOOD), None);
        let dated = GOOD.replace("name = \"payments\"", "name = \"payments\"\nunbound_until = 2027-03-01");
        assert_eq!(until(&dated), Some(Timestamp::from_unix(1_803_859_200)));
    }

    #[test]
    fn the_security_token_service_is_served_when_it_is_configured() {
        assert!(Config::parse(GOOD, Path::new("/srv")).unwrap().sts.is_none());
        let with = |table: &str| GOOD.replacen("[[instance]]", &format!("[sts]\n{table}\n[[instance]]"), 1);
        let config = Config::parse(&with("listen = \"127.0.0.1:0\"\nnames = [\"sts.example.com\"]"), Path::new("/srv")).unwrap();
        assert!(config.sts.unwrap().names.contains(&"sts.example.com".to_owned()));
        let config = Config::parse(&with("listen = \"127.0.0.1:0\"\n[sts.limits]\nwrites = 5"), Path::new("/srv")).unwrap();
        assert_eq!(config.sts.unwrap().limits.get(Group::Writes).map(NonZeroU32::get), Some(5));
        for (table, said) in [("", "listen"), ("listen = \"127.0.0.1:0\"\nissuer = \"\"", "issuer")] {
            assert!(refusal(&with(table)).contains(said), "{}", refusal(&with(table)));
        }
    }

    #[test]
    fn proxies_are_of_one_listener() {
        let table =
            |listener: &str, how: &str| format!("[{listener}.proxies]\naddresses = [\"10.0.0.5\", \"10.0.1.0/24\"]\n{how}\n");
        let shared = GOOD.replace("[[instance]]", &format!("{}[[instance]]", table("shared", "header = \"X-Forwarded-For\"")));
        let config = Config::parse(&(shared + &table("instance", "proxy_protocol = true")), Path::new("/srv")).unwrap();
        assert_eq!(config.shared.proxies.header(), Some("x-forwarded-for"));
        let proxies = &config.instances[0].endpoint.proxies;
        assert!(proxies.begin_connections("10.0.1.7".parse().unwrap()) && !proxies.begin_connections("10.0.0.6".parse().unwrap()));
        assert_eq!(Config::parse(GOOD, Path::new("/srv")).unwrap().shared.proxies, Proxies::None);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let text = refusal(&GOOD.replace("name = \"payments\"", "nmae = \"payments\""));
        assert!(text.contains("line 8") && text.contains("nmae"), "{text}");
        for (from, to, said) in [
            ("\"Hardware\"", "\"Hard\"", "Hard"),
            ("kst-aaaaaaaaaaaaaaaaaaaaa", "kst-a", "kst-a"),
            ("pkcs11:token=keystead", "token=keystead", "PKCS#11 URI"),
            (
                "name = \"payments\"",
                "name = \"a\"\nunbound_until = \"soon\"",
                "unbound_until of the instance kst-aaaaaaaaaaaaaaaaaaaaa",
            ),
            ("pin_file = \"pin.txt\"", "", "exactly one of pin_file"),
            ("pin_file = \"pin.txt\"", "pin_file = \"a\"\npin_credential = \"b\"", "exactly one of pin_file"),
            (
                "pin_file = \"pin.txt\"",
                "pin_file = \"a\"\nsessions = 0",
                "sessions of the slot of kst-aaaaaaaaaaaaaaaaaaaaa is between 1",
            ),
            ("pin_file = \"pin.txt\"", "pin_file = \"a\"\nsessions = 10001", "sessions"),
            ("pin_file = \"pin.txt\"", "pin_file = \"a\"\nqueue = 9223372036854775807", "queue"),
            ("pin_file = \"pin.txt\"", "pin_file = \"a\"\nwritten_off = 10001", "written_off"),
            ("pin_file = \"pin.txt\"", "pin_file = \"a\"\ndeadline_ms = 3600001", "deadline_ms"),
            ("pin_file = \"pin.txt\"", "pin_file = \"a\"\nkeepalive_s = 86401", "keepalive_s"),
            ("127.0.0.1:9443", "nowhere", "line 5"),
        ] {
            let text = refusal(&GOOD.replacen(from, to, 1));
            assert!(text.contains(said), "{said} is not in: {text}");
            assert!(!text.contains('\n'), "{text}");
        }
        let proxied = |table: &str| refusal(&GOOD.replace("[[instance]]", &format!("[shared.proxies]\n{table}\n[[instance]]")));
        for (table, said) in [
            ("addresses = []\nproxy_protocol = true", "at least one"),
            ("addresses = [\"10.0.0.256\"]\nproxy_protocol = true", "10.0.0.256"),
            ("addresses = [\"10.0.0.1\"]", "exactly one of"),
            ("addresses = [\"10.0.0.1\"]\nheader = \"Forwarded\"\nproxy_protocol = true", "exactly one of"),
            ("addresses = [\"10.0.0.1\"]\nheader = \"a b\"", "a b"),
            ("addresses = [\"10.0.0.1\"]\nhaeder = \"a\"", "haeder"),
        ] {
            assert!(proxied(table).contains(said), "{said} is not in: {}", proxied(table));
        }
        assert!(refusal(&GOOD.replace("kind = \"Hardware\"", "kind = \"Software\"")).contains("has an [instance.slot]"));
        assert!(refusal(GOOD.split("[[instance]]").next().unwrap()).contains("no [[instance]]"));
    }
}
