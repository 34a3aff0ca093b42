//! An installation in a folder of its own, and the program run on it. Whoever uses it has the module `softhsm` beside it.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use keystead::base::random;
use keystead::model::InstanceId;
use serde_json::Value;

use crate::softhsm;

/// The longest that a server may take to start, and to end.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Installation {
    pub folder: tempfile::TempDir,
    pub hardware: InstanceId,
    pub software: InstanceId,
    pub token: String,
}

impl Installation {
    /// With a hardware and a software instance, initialised.
    pub fn new() -> Self {
        let installation = Self::bare();
        let made = installation.run(&["init"]);
        assert!(made.status.success(), "{}", text(&made));
        installation
    }

    /// With a configuration and nothing else.
    pub fn bare() -> Self {
        let installation = Self {
            folder: tempfile::tempdir().unwrap(),
            hardware: InstanceId::from_entropy(random::bytes()),
            software: InstanceId::from_entropy(random::bytes()),
            token: softhsm::token(),
        };
        installation.write_secret("pin.txt", softhsm::PIN);
        installation.configure(|text| text);
        installation
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write_secret(&self, name: &str, content: &str) {
        std::fs::write(self.path(name), content).unwrap();
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Writes the configuration, changed.
    pub fn configure(&self, change: impl Fn(String) -> String) {
        let text = format!(
            "data_dir = \"data\"\nroot_key_file = \"root.key\"\n\
             [shared]\nlisten = \"127.0.0.1:0\"\ndefault_instances = [\"{hardware}\", \"{software}\"]\n\
             [telemetry]\nlisten = \"127.0.0.1:0\"\n\
             [[instance]]\nid = \"{hardware}\"\nname = \"hsm\"\nkind = \"Hardware\"\nlisten = \"127.0.0.1:0\"\n\
             [instance.slot]\nmodule = \"{module}\"\nuri = \"{uri}\"\npin_file = \"pin.txt\"\n\
             [[instance]]\nid = \"{software}\"\nname = \"software\"\nkind = \"Software\"\nlisten = \"127.0.0.1:0\"\n",
            hardware = self.hardware,
            software = self.software,
            module = softhsm::module().display(),
            uri = softhsm::uri(&self.token),
        );
        std::fs::write(self.path("keystead.toml"), change(text)).unwrap();
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keystead"));
        command
            .args(arguments)
            .env("KEYSTEAD_CONFIG", self.path("keystead.toml"))
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs what must fail with one line on stderr, and gives that.
    #[track_caller]
    pub fn refusal(&self, arguments: &[&str]) -> String {
        let output = self.run(&[&["--log", "off"], arguments].concat());
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert_eq!(line.trim_end().lines().count(), 1, "{line}");
        assert!(line.starts_with("keystead: "), "{line}");
        line
    }

    /// An operation of the OpenAPI.
    pub fn api(&self, arguments: &[&str]) -> Result<Value, Value> {
        let output = self.run(&[&["--log", "off", "api"], arguments].concat());
        let json: Value = serde_json::from_slice(&output.stdout).map_err(|_| Value::from(text(&output)))?;
        if output.status.success() { Ok(json) } else { Err(json) }
    }

    /// Starts the server and waits until it listens.
    pub fn serve(&self) -> Server {
        self.serve_in([])
    }

    /// The same in an environment with something added.
    pub fn serve_in<const N: usize>(&self, environment: [(&str, PathBuf); N]) -> Server {
        let mut server = self.start(self.command(&["serve"]).envs(environment).stderr(Stdio::piped()));
        let stderr = server.child.stderr.take().unwrap();
        // Read away, so that the server never waits for a reader.
        server.log = Some(std::thread::spawn(move || {
            let mut log = String::new();
            let mut stderr = stderr;
            let _ = stderr.read_to_string(&mut log);
            log
        }));
        self.await_ready(&mut server);
        server
    }

    /// The same, but files that get longer than they may are an error of the write instead of the process's end.
    pub fn serve_without_the_signal_of_large_files(&self) -> Server {
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; exec \"$0\" serve", env!("CARGO_BIN_EXE_keystead")]);
        command.env("KEYSTEAD_CONFIG", self.path("keystead.toml")).current_dir(self.folder.path()).stdin(Stdio::null());
        let mut server = self.start(command.stderr(Stdio::null()));
        self.await_ready(&mut server);
        server
    }

    /// The same with its log in a file of the installation.
    pub fn serve_logging_to(&self, name: &str) -> Server {
        let log = std::fs::File::create(self.path(name)).unwrap();
        let mut server = self.start(self.command(&["serve"]).stderr(log));
        self.await_ready(&mut server);
        server
    }

    /// The same, logging as much as it can to a pipe that is read by whoever called, or by nobody.
    pub fn serve_unread(&self) -> (Server, std::process::ChildStderr) {
        let mut server = self.start(self.command(&["--log", "trace", "serve"]).stderr(Stdio::piped()));
        let stderr = server.child.stderr.take().unwrap();
        self.await_ready(&mut server);
        (server, stderr)
    }

    fn start(&self, command: &mut Command) -> Server {
        let _ = std::fs::remove_file(self.path("data/ready.json"));
        Server { child: command.stdout(Stdio::null()).spawn().unwrap(), log: None }
    }

    fn await_ready(&self, server: &mut Server) {
        let begun = Instant::now();
        while !self.path("data/ready.json").exists() {
            if server.child.try_wait().unwrap().is_some() {
                panic!("the server did not start: {}", server.log());
            }
            assert!(begun.elapsed() < PATIENCE, "the server does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Makes a key in the default instance, the hardware one.
    pub fn key(&self, spec: &str, usage: &str) -> String {
        let made = self.api(&["CreateKey", "--KeySpec", spec, "--KeyUsage", usage]).unwrap();
        made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned()
    }

    /// Where an instance of the running server is.
    pub fn endpoint(&self, instance: &InstanceId) -> String {
        let ready = self.ready();
        let instances = ready["instances"].as_array().unwrap();
        let found = instances.iter().find(|found| found["instance_id"] == instance.as_str()).unwrap();
        found["endpoint"].as_str().unwrap().to_owned()
    }

    pub fn ready(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.path("data/ready.json")).unwrap()).unwrap()
    }
}

pub struct Server {
    child: Child,
    log: Option<std::thread::JoinHandle<String>>,
}

impl Server {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM, waits, gives whether it ended well, and the log.
    pub fn end(mut self) -> (bool, String) {
        self.signal(rustix::process::Signal::TERM);
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(begun.elapsed() < PATIENCE, "the server does not end");
            std::thread::sleep(Duration::from_millis(10));
        };
        (status.success(), self.log())
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn log(&mut self) -> String {
        self.log.take().map_or_else(String::new, |log| log.join().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

pub fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}
