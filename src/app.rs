//! Floor 5: the program. The only place that names concrete tiers and puts the parts together.

mod alerts;
mod api;
mod assembly;
mod audit;
mod check_config;
mod client_keys;
mod clock;
mod files;
mod handing_out;
mod hsm;
mod init;
mod installation;
mod log;
mod oidc_providers;
mod operators;
mod output;
mod roles;
mod running;
mod serve;
mod starter;
mod watched_clock;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::base::{Error, Result, Timestamp};
use crate::model::access::{AuthenticationMethod, ResourcePattern};
use crate::model::{InstanceId, Name};
use crate::service::NewAccess;
use crate::tier::pkcs11::TokenUri;

/// A Key Management Service whose keys live in an HSM, for programs written for Alibaba Cloud KMS.
#[derive(Parser)]
#[command(name = "keystead", version, arg_required_else_help = true)]
struct Arguments {
    /// The configuration file.
    #[arg(long, global = true, env = "KEYSTEAD_CONFIG", default_value = "keystead.toml", value_name = "FILE")]
    config: PathBuf,

    /// What is logged, to stderr: error, warn, info, debug, or module=level pairs.
    #[arg(long, global = true, env = "KEYSTEAD_LOG", default_value = "info", value_name = "FILTER")]
    log: String,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make what a new installation needs: data folder, root key, database, certificate authorities, the administrator's
    /// AccessKey. Run again it changes nothing.
    Init {
        /// Make the administrator's AccessKey anew; the former one stops working. Needs the root key, no AccessKey.
        #[arg(long)]
        new_access_key: bool,
    },
    /// Serve until SIGTERM or SIGINT, then finish the requests that run.
    Serve,
    /// Read the configuration and try everything that it names, without serving.
    CheckConfig,
    /// Make an application access point for everything of one instance, and hand out its client key, its password and the CA file.
    QuickCreate {
        /// The instance, kst-...
        #[arg(long, value_name = "ID")]
        instance: InstanceId,
        /// The name of the application access point.
        #[arg(long)]
        name: Name,
        /// The folder that the three files go to.
        #[arg(long, default_value = ".", value_name = "FOLDER")]
        out: PathBuf,
    },
    /// Make application access points.
    #[command(subcommand)]
    Aap(Aap),
    /// Make, list and delete the client keys of application access points.
    #[command(subcommand)]
    ClientKey(client_keys::ClientKeys),
    /// Operators: who may call the OpenAPI, what they are permitted, their AccessKeys.
    #[command(subcommand)]
    Operator(operators::Operators),
    /// Roles: what others assume for a while, what it permits, and who may assume it.
    #[command(subcommand)]
    Role(roles::Roles),
    /// OIDC providers: clusters and CI systems whose tokens let their jobs assume roles, without a stored secret.
    #[command(subcommand)]
    OidcProvider(oidc_providers::OidcProviders),
    /// Look at HSMs.
    #[command(subcommand)]
    Hsm(Hsm),
    /// Whether the date is relied on to destroy keys, material and audit records whose time has come.
    ///
    /// A clock that is put wrong for a moment must destroy nothing: the date is relied on when the clock was not moved for an hour; for a day
    /// after the service was off for more than a day; and never while it shows a date before one that was seen already.
    Clock {
        #[command(subcommand)]
        command: Option<ClockCommand>,
    },
    /// Look through the audit log, and prove that nothing in it was changed.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Call an operation of the OpenAPI or of the STS as an operator or with a role: keystead api DescribeKey --KeyId key-...
    Api(Api),
}

#[derive(Subcommand)]
enum Aap {
    /// Standard creation in one go: network rule, permission policy, access point and client key, all of one name. Hands out the
    /// client key, its password and the CA file.
    ///
    /// With --authentication-method RAMRole there is no client key, and no secret to be kept where the program runs: its callers are the
    /// sessions of the role of that name (keystead role create), which needs no policy of its own. They use the keys through the OpenAPI,
    /// at the instance or at the shared gateway.
    Create {
        /// The instance, kst-...
        #[arg(long, value_name = "ID")]
        instance: InstanceId,
        /// The name of all of them.
        #[arg(long)]
        name: Name,
        /// A key that may be used: its id, the beginning of ids and *, or * for all. May be given again.
        #[arg(long = "key", value_name = "KEY", value_parser = key_pattern, required_unless_present = "secrets")]
        keys: Vec<ResourcePattern>,
        /// A secret that may be read: its name, the beginning of names and *, or * for all. May be given again.
        #[arg(long = "secret", value_name = "SECRET", value_parser = secret_pattern)]
        secrets: Vec<ResourcePattern>,
        /// An address or a block of addresses that clients come from, as 10.0.0.0/8; without it they may come from anywhere. May be
        /// given again.
        #[arg(long = "source", value_name = "ADDRESS")]
        sources: Vec<String>,
        /// How callers prove who they are: ClientKey, by a client key that is handed out; or RAMRole, by temporary credentials of the role
        /// of the same name.
        #[arg(long, value_name = "METHOD", default_value = "ClientKey")]
        authentication_method: AuthenticationMethod,
        /// For how many days the client key is valid; 365 without it.
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: Option<u32>,
        /// What it is for.
        #[arg(long, default_value = "")]
        description: String,
        /// The folder that the files go to.
        #[arg(long, default_value = ".", value_name = "FOLDER")]
        out: PathBuf,
    },
}

#[derive(Subcommand)]
enum ClockCommand {
    /// Say that the date is right: it is relied on at once, until the clock is moved. Look at it first.
    Confirm,
}

#[derive(Subcommand)]
enum AuditCommand {
    /// Prove that no record was changed, taken away or moved; says which is wrong. The exit code is 0 when none is, else 1.
    ///
    /// Needs the root key, and reads in the database where the logs ended. The server may run meanwhile.
    Verify {
        /// The folder of the logs, with server/ and commands/ in it; without it the configured one.
        #[arg(long, value_name = "FOLDER")]
        dir: Option<PathBuf>,
    },
    /// Print records, one JSON object a line, in the order of time. All that is given must hold; without anything all are printed.
    ///
    /// Whether a key is still used: keystead audit search --key key-... --since 2026-11-01
    Search {
        /// The folder of the logs, with server/ and commands/ in it; without it the configured one.
        #[arg(long, value_name = "FOLDER")]
        dir: Option<PathBuf>,
        /// A key or a key version by its id; or an alias or a name, as it stood in the request.
        #[arg(long, value_name = "ID")]
        key: Option<String>,
        /// A client key, an access point, an AccessKey, a role, a role with its session, as deployer/ci, an OIDC provider by its ARN,
        /// whom it vouches for, as system:serviceaccount:shop:payments, or a user of the system, as uid:0.
        #[arg(long, value_name = "ID")]
        caller: Option<String>,
        /// From then on, in UTC: 2026-11-25 or 2026-11-25T08:00:00Z.
        #[arg(long, value_name = "DATE", value_parser = audit::since)]
        since: Option<Timestamp>,
        /// Up to then: the end of a day when it is one.
        #[arg(long, value_name = "DATE", value_parser = audit::until)]
        until: Option<Timestamp>,
        /// An operation, as Decrypt.
        #[arg(long, value_name = "NAME")]
        operation: Option<String>,
        /// A code, as OK or Forbidden.NoPermission.
        #[arg(long, value_name = "CODE")]
        code: Option<String>,
    },
}

/// Seconds of a day.
const DAY: i64 = 86_400;
/// For how many days a client key is valid unless it is said.
const DAYS: u32 = 365;

fn callers(method: AuthenticationMethod, days: Option<u32>) -> Result<handing_out::Callers> {
    match (method, days) {
        (AuthenticationMethod::ClientKey, days) => {
            Ok(handing_out::Callers::ClientKey { seconds: i64::from(days.unwrap_or(DAYS)) * DAY })
        }
        (AuthenticationMethod::RamRole, None) => Ok(handing_out::Callers::Role),
        (AuthenticationMethod::RamRole, Some(_)) => {
            Err(Error::invalid("--days is for client keys; with --authentication-method RAMRole there is none."))
        }
    }
}

fn key_pattern(text: &str) -> Result<ResourcePattern> {
    format!("key/{text}").parse()
}

fn secret_pattern(text: &str) -> Result<ResourcePattern> {
    format!("secret/{text}").parse()
}

#[derive(Subcommand)]
enum Hsm {
    /// List the tokens of the configured modules, or of one module.
    List {
        /// The module's library.
        #[arg(long, value_name = "FILE")]
        module: Option<PathBuf>,
    },
    /// Test what a token can do: every key spec and algorithm, on session objects that leave nothing behind. Logs in once.
    Probe {
        /// The module's library; without it the configured instances are probed.
        #[arg(long, value_name = "FILE", requires = "uri", requires = "pin_file")]
        module: Option<PathBuf>,
        /// Which token (RFC 7512): pkcs11:token=LABEL
        #[arg(long)]
        uri: Option<TokenUri>,
        /// The file with the PIN.
        #[arg(long, value_name = "FILE")]
        pin_file: Option<PathBuf>,
    },
    /// Measure a token: what its module does by itself, what the tier makes of it, and how many sessions it takes. Makes keys in
    /// the token and destroys them at the end.
    Bench {
        /// The configured instance, kst-...; not needed when only one has a token.
        #[arg(long, conflicts_with = "module")]
        instance: Option<InstanceId>,
        /// The module's library, for a token that is not configured.
        #[arg(long, value_name = "FILE", requires = "uri", requires = "pin_file")]
        module: Option<PathBuf>,
        /// Which token (RFC 7512): pkcs11:token=LABEL
        #[arg(long)]
        uri: Option<TokenUri>,
        /// The file with the PIN.
        #[arg(long, value_name = "FILE")]
        pin_file: Option<PathBuf>,
        /// Numbers of sessions that are tried.
        #[arg(long, value_name = "N,N,...", value_delimiter = ',', default_value = "1,2,4,8,16,32,64", value_parser = hsm::bench::sessions)]
        sessions: Vec<usize>,
        /// How long each line is measured.
        #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = interval)]
        time: Duration,
    },
    /// Show how the slots of the running server are: state, login, sessions, queue, what was served and what failed.
    Status {
        /// The instance, kst-...; without it all are shown.
        #[arg(value_name = "INSTANCE")]
        instance: Option<InstanceId>,
        /// Look again and again, until Ctrl-C; what happens in a second is shown, too.
        #[arg(long)]
        watch: bool,
        /// How long it waits between two looks.
        #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = interval, requires = "watch")]
        interval: Duration,
        /// Print the server's own page, for programs; with --watch a line for each look.
        #[arg(long)]
        json: bool,
    },
    /// Let a PIN that the token refused be tried once more.
    ///
    /// A refused PIN is not tried again, not even by a restart, until its source gives another one: a few wrong PINs lock a token. Use
    /// this when the token was changed to fit: somebody set its user PIN to the configured one, or unlocked it. The running server
    /// then tries that PIN once; when it is refused again, it is remembered again.
    RetryPin {
        /// The instance, kst-...
        #[arg(value_name = "INSTANCE")]
        instance: InstanceId,
        /// The token's serial number; without it the running server is asked for it.
        #[arg(long)]
        serial: Option<String>,
    },
}

/// A time in seconds.
fn interval(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.1..=86_400.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "between 0.1 and 86400 seconds".to_owned())
}

/// How to reach the shared gateway or the Security Token Service, and what to ask it.
#[derive(Args)]
struct Api {
    /// host:port of the shared gateway, or of the STS for its operations; without it the running server of the configuration.
    #[arg(long, value_name = "HOST:PORT")]
    endpoint: Option<String>,
    /// What to trust; without it the CA of the configuration.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// {"AccessKeyId":...,"AccessKeySecret":...}, with "SecurityToken" for temporary credentials, or what AssumeRole answered; without
    /// it the administrator's of the configuration.
    #[arg(long, value_name = "FILE")]
    access_key_file: Option<PathBuf>,
    /// The operation, as CreateKey; or AssumeRole or GetCallerIdentity of the STS.
    operation: String,
    /// Its parameters: --Name value. A value @FILE is read from the file, @@ begins a value with one @.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "--Param value")]
    parameters: Vec<String>,
}

/// Runs the program.
pub fn main() -> ! {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => log::end(output::of_parser(&error)),
    };
    if let Err(text) = log::start(&arguments.log) {
        log::complain(format_args!("keystead: {text}"));
        log::end(USAGE);
    }
    let ended = run(arguments);
    let status = match ended.and_then(|status| output::finish().map(|()| status)) {
        Ok(status) => status,
        Err(error) => {
            let causes = error.causes();
            let causes = if causes.is_empty() { causes } else { format!(" ({causes})") };
            log::complain(format_args!("keystead: {error}{causes}"));
            FAILURE
        }
    };
    log::end(status)
}

/// What the program ends with.
const SUCCESS: i32 = 0;
const FAILURE: i32 = 1;
/// As clap ends it, too.
const USAGE: i32 = 2;

fn run(arguments: Arguments) -> Result<i32> {
    let runtime = assembly::runtime()?;
    let config = &arguments.config;
    let done = |result: Result<()>| result.map(|()| SUCCESS);
    let result = runtime.block_on(async {
        match arguments.command {
            Command::Init { new_access_key: false } => done(init::run(config, init::AccessKey::Keep).await),
            Command::Init { new_access_key: true } => done(init::run(config, init::AccessKey::Replace).await),
            Command::Serve => done(serve::run(config).await),
            Command::CheckConfig => done(check_config::run(config).await),
            Command::QuickCreate { instance, name, out } => done(handing_out::quick_create(config, instance, name, &out).await),
            Command::Aap(Aap::Create { instance, name, keys, secrets, sources, authentication_method, days, description, out }) => {
                let resources = keys.into_iter().chain(secrets).collect();
                let callers = callers(authentication_method, days)?;
                let new = NewAccess { name, instance, resources, sources, description };
                done(handing_out::create(config, new, &callers, &out).await)
            }
            Command::ClientKey(command) => done(client_keys::run(config, command).await),
            Command::Operator(command) => done(operators::run(config, command).await),
            Command::Role(command) => done(roles::run(config, command).await),
            Command::OidcProvider(command) => done(oidc_providers::run(config, command).await),
            Command::Hsm(Hsm::List { module }) => done(hsm::list(config, module.as_deref()).await),
            Command::Hsm(Hsm::Probe { module, uri, pin_file }) => done(match (module, uri, pin_file) {
                (Some(module), Some(uri), Some(pin_file)) => hsm::probe_token(module, uri, pin_file).await,
                _ => hsm::probe_configured(config).await,
            }),
            Command::Hsm(Hsm::Bench { instance, module, uri, pin_file, sessions, time }) => {
                let plan = hsm::bench::Plan { sessions, time };
                done(match (module, uri, pin_file) {
                    (Some(module), Some(uri), Some(pin_file)) => hsm::bench_token(module, uri, pin_file, &plan).await,
                    _ => hsm::bench_configured(config, instance.as_ref(), &plan).await,
                })
            }
            Command::Hsm(Hsm::Status { instance, watch, interval, json }) => {
                let form = if json { hsm::status::Form::Json } else { hsm::status::Form::Page };
                let looks = if watch { hsm::status::Looks::Every(interval) } else { hsm::status::Looks::Once };
                done(hsm::status::run(config, instance.as_ref(), form, looks).await)
            }
            Command::Hsm(Hsm::RetryPin { instance, serial }) => done(hsm::retry_pin::run(config, &instance, serial).await),
            Command::Clock { command } => done(clock::run(config, command).await),
            Command::Audit(command) => audit::run(config, command).await,
            Command::Api(api) => api::run(config, api).await,
        }
    });
    runtime.shutdown_background();
    result
}
