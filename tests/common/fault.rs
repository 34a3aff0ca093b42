// The fault-injecting module for tests and benchmarks, and the client of its control socket.
//
// The module reads the environment when it is loaded, once a process. A process that loads it itself uses `Fault::here`, with
// rules for its own tokens (`token=…`) where tests run side by side; `Fault::for_child` is for a process that is yet to be started.
// Plain comments, no inner attributes: several test programs and benchmarks include this file.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a started process may take to load the module.
const PATIENCE: Duration = Duration::from_secs(60);

/// The library, which cargo builds beside the tests: keystead-fault-module is a dev-dependency.
pub fn module() -> PathBuf {
    let name = format!("{}keystead_fault_module{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let program = std::env::current_exe().expect("the path of this program");
    let folder = program.parent().expect("a program is in a folder");
    [folder.join(&name), folder.join("deps").join(&name), folder.join("..").join("deps").join(&name)]
        .into_iter()
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{name} is built beside {}", program.display()))
}

/// `token=…` for a command: the label may have blanks and whatever else.
pub fn token(label: &str) -> String {
    let mut word = "token=".to_owned();
    for byte in label.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => word.push(char::from(byte)),
            other => word.push_str(&format!("%{other:02X}")),
        }
    }
    word
}

/// The module of one process, by its control socket.
pub struct Fault {
    socket: PathBuf,
    _folder: tempfile::TempDir,
}

/// A rule that lasts as long as this value.
#[must_use = "the rule is dropped with this value"]
pub struct Rule<'a> {
    fault: &'a Fault,
    number: u64,
}

impl Fault {
    /// The module of this process, which is loaded here if it was not yet. The real module's environment (SOFTHSM2_CONF) is set
    /// before.
    pub fn here() -> &'static Self {
        static HERE: LazyLock<Fault> = LazyLock::new(|| {
            let fault = Fault::for_child();
            // SAFETY: Rust code reads the environment under the standard library's lock, and so does the module, which is
            // loaded after it is set.
            #[allow(unsafe_code, clippy::disallowed_methods, reason = "the module is configured by the environment alone")]
            unsafe {
                std::env::set_var("KEYSTEAD_FAULT_CONTROL", &fault.socket);
            }
            let _list = cryptoki::context::Pkcs11::new(module()).expect("the module loads");
            fault
        });
        &HERE
    }

    /// The module of a process that is started with [`Fault::environment`].
    pub fn for_child() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the control socket");
        Self { socket: folder.path().join("control"), _folder: folder }
    }

    /// What the process needs to know of it.
    pub fn environment(&self) -> [(&'static str, PathBuf); 1] {
        [("KEYSTEAD_FAULT_CONTROL", self.socket.clone())]
    }

    /// Says a command; gives what is said back besides `ok`, or null.
    pub fn tell(&self, command: &str) -> Value {
        self.ask(command).unwrap_or_else(|failure| panic!("{command}: {failure}"))
    }

    /// As [`Fault::tell`], with the text after `error`.
    pub fn ask(&self, command: &str) -> Result<Value, String> {
        let line = self.exchange(command).unwrap_or_else(|failure| panic!("{command}: {failure}"));
        match line.trim_end().split_once(' ').unwrap_or((line.trim_end(), "null")) {
            ("ok", value) => Ok(serde_json::from_str(value).expect("JSON")),
            ("error", text) => Err(text.to_owned()),
            _ => panic!("{command}: answered by {line:?}"),
        }
    }

    /// A connection for each command, so that nobody waits for somebody else's `wait-hung`.
    fn exchange(&self, command: &str) -> std::io::Result<String> {
        let connection = self.connect()?;
        (&connection).write_all(format!("{command}\n").as_bytes())?;
        let mut line = String::new();
        BufReader::new(&connection).read_line(&mut line)?;
        Ok(line)
    }

    /// The socket is there when the process has loaded the module.
    fn connect(&self) -> std::io::Result<UnixStream> {
        let began = Instant::now();
        loop {
            match UnixStream::connect(&self.socket) {
                Err(_) if began.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(2)),
                result => return result,
            }
        }
    }

    /// A rule (`fail`, `latency`, `hang`, `crash`) until the value is dropped.
    pub fn rule(&self, command: &str) -> Rule<'_> {
        let number = self.tell(command)["rule"].as_u64().unwrap_or_else(|| panic!("{command} is no rule"));
        Rule { fault: self, number }
    }

    /// Waits until so many calls hang.
    pub fn wait_hung(&self, calls: usize) {
        self.tell(&format!("wait-hung {calls}"));
    }

    /// How often a function was called, or all of them together if it is `all`.
    pub fn calls(&self, function: &str) -> u64 {
        let counts = self.tell("counts");
        match function {
            "all" => counts["calls"].as_object().into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum(),
            function => counts["calls"][function].as_u64().unwrap_or(0),
        }
    }

    /// How many calls had an outcome (`CKR_OK`, …).
    pub fn outcomes(&self, name: &str) -> u64 {
        self.tell("counts")["outcomes"][name].as_u64().unwrap_or(0)
    }

    /// What the module knows of itself.
    pub fn state(&self) -> Value {
        self.tell("state")
    }

    /// How many sessions are open on a slot.
    pub fn sessions(&self, slot: u64) -> u64 {
        self.state()["sessions"][slot.to_string()].as_u64().unwrap_or(0)
    }

    /// How many calls hang.
    pub fn hung(&self) -> u64 {
        self.state()["hung"].as_u64().expect("a number")
    }
}

impl Rule<'_> {
    /// How many calls it was for.
    pub fn calls(&self) -> u64 {
        self.told("calls")
    }

    /// How often it fired.
    pub fn fired(&self) -> u64 {
        self.told("fired")
    }

    fn told(&self, what: &str) -> u64 {
        let state = self.fault.state();
        let rules = state["rules"].as_array().into_iter().flatten();
        let mine = rules.filter(|rule| rule["rule"] == self.number).find_map(|rule| rule[what].as_u64());
        mine.unwrap_or_else(|| panic!("the rule {} was cleared", self.number))
    }
}

impl Drop for Rule<'_> {
    fn drop(&mut self) {
        // It may be cleared already, or the process may have ended.
        if let Ok(connection) = UnixStream::connect(&self.fault.socket)
            && (&connection).write_all(format!("drop {}\n", self.number).as_bytes()).is_ok()
        {
            let _ = BufReader::new(&connection).read_line(&mut String::new());
        }
    }
}
