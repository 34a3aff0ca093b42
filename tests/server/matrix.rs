//! The authorisation matrix: every credential with every operation of both protocols, at each endpoint, about each resource, from an
//! address that policies speak of and from one that they do not. Each cell is asked over TLS and compared with a table; what was not to be
//! done must have left nothing behind.

mod instance;
mod openapi;
mod parameters;
mod sessions;
mod table;
mod world;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http2::SendRequest;
use keystead::base::{Clock, SecretBytes, Timestamp};
use keystead::wire::date;
use keystead::wire::instance_protocol::{ErrorMessage, Operation};
use keystead::wire::openapi::{Action, Effect};
use keystead::wire::signing::AcsScheme;
use prost::Message;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::bench::{Answer, Call, answer_of, request};
use crate::shared::{query, secret, signed_call};
use openapi::Need;
use sessions::{SESSION, allow_everywhere};
use table::Tables;
use world::{World, allow_inside};

/// Requests at once.
const AT_ONCE: usize = 16;
/// Names no credential, in either protocol.
const UNKNOWN: &str = "KAAP.11111111-2222-4333-8444-555555555555";

/// Gives the values of a dimension their names in the table.
macro_rules! dimension {
    ($(#[$doc:meta])* $dimension:ident { $($value:ident => $name:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        enum $dimension {
            $($value),+
        }

        impl $dimension {
            const ALL: &'static [Self] = &[$(Self::$value),+];

            const fn name(self) -> &'static str {
                match self {
                    $(Self::$value => $name),+
                }
            }
        }
    };
}

dimension! {
    /// Who asks, and how it proves that. One more is a value here and in [`Asked::credentials`], with how it signs and its lines of the
    /// table.
    Credential {
        None => "none",
        WrongSignature => "wrong signature",
        OldDate => "old date",
        Unknown => "unknown",
        // Client keys.
        ExpiredClientKey => "expired client key",
        FutureClientKey => "future client key",
        NoPolicy => "no policy",
        KeyUser => "key user",
        KeyUserOfAll => "key user of all",
        SecretUser => "secret user",
        Shared => "shared",
        // AccessKeys.
        DisabledAccessKey => "disabled AccessKey",
        NoStatement => "no statement",
        Exactly => "exactly",
        OtherActions => "other actions",
        OtherResource => "other resource",
        Denied => "denied",
        Administrator => "administrator",
        // Sessions of roles.
        Session => "session",
        NarrowedSession => "narrowed session",
        SessionOfNothing => "session of nothing",
        ExpiredSession => "expired session",
        // Of a role without a statement, that has an access point.
        SessionWithAccessPoint => "session with access point",
    }
}

dimension! {
    /// Where it asks.
    Endpoint {
        Own => "own instance",
        Other => "other instance",
        Shared => "shared gateway",
    }
}

dimension! {
    /// What it asks about.
    Resource {
        None => "none",
        InScope => "in scope",
        OutOfScope => "out of scope",
        Elsewhere => "of the other instance",
        Absent => "absent",
    }
}

dimension! {
    /// From where.
    Address {
        Inside => "inside",
        Outside => "outside",
    }
}

/// What it asks for.
#[derive(Clone, Copy)]
enum Asked {
    Instance(Operation),
    OpenApi(Action),
}

impl Asked {
    fn name(self) -> &'static str {
        match self {
            Self::Instance(operation) => operation.name(),
            Self::OpenApi(action) => action.name(),
        }
    }

    const fn protocol(self) -> &'static str {
        match self {
            Self::Instance(_) => "instance protocol",
            Self::OpenApi(_) => "OpenAPI",
        }
    }

    /// Those that make a difference in the protocol, and one that belongs to the other.
    const fn credentials(self) -> &'static [Credential] {
        match self {
            Self::Instance(_) => &[
                Credential::None,
                Credential::WrongSignature,
                Credential::OldDate,
                Credential::Unknown,
                Credential::ExpiredClientKey,
                Credential::FutureClientKey,
                Credential::NoPolicy,
                Credential::KeyUser,
                Credential::KeyUserOfAll,
                Credential::SecretUser,
                Credential::Shared,
                Credential::Administrator,
                Credential::Session,
            ],
            Self::OpenApi(_) => &[
                Credential::None,
                Credential::WrongSignature,
                Credential::OldDate,
                Credential::Unknown,
                Credential::KeyUserOfAll,
                Credential::DisabledAccessKey,
                Credential::NoStatement,
                Credential::Exactly,
                Credential::OtherActions,
                Credential::OtherResource,
                Credential::Denied,
                Credential::Administrator,
                Credential::Session,
                Credential::NarrowedSession,
                Credential::SessionOfNothing,
                Credential::ExpiredSession,
                Credential::SessionWithAccessPoint,
            ],
        }
    }
}

impl Address {
    const fn text(self) -> &'static str {
        match self {
            Self::Inside => "192.0.2.7",
            Self::Outside => "198.51.100.7",
        }
    }
}

/// One question.
#[derive(Clone, Copy)]
struct Cell {
    request: Asked,
    endpoint: Endpoint,
    credential: Credential,
    resource: Resource,
    address: Address,
}

impl Cell {
    /// As the table has them.
    fn columns(&self) -> [&'static str; 5] {
        [self.request.name(), self.endpoint.name(), self.credential.name(), self.resource.name(), self.address.name()]
    }

    /// Every cell of who asks for something about one of the resources.
    fn all(request: Asked, credential: Credential, resource: Resource) -> impl Iterator<Item = Self> {
        Endpoint::ALL.iter().flat_map(move |endpoint| {
            let endpoint = *endpoint;
            Address::ALL.iter().map(move |address| Self { request, endpoint, credential, resource, address: *address })
        })
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.request.protocol(), self.columns().join(", "))
    }
}

/// What is sent for a cell.
enum Content {
    /// Signed already: messages are good at every endpoint, and more than once.
    Message(Call),
    /// To be signed for each request, which is good once.
    Parameters(Vec<(&'static str, String)>),
}

impl World {
    fn address(&self, endpoint: Endpoint) -> SocketAddr {
        match endpoint {
            Endpoint::Own => self.bench.address,
            Endpoint::Other => self.bench.other_address,
            Endpoint::Shared => self.bench.shared,
        }
    }

    /// The request of a cell and its path, signed by who asks, as a proxy forwards it.
    fn signed(&self, cell: &Cell, content: &Content) -> (String, Call) {
        let (path, call) = match (cell.request, content) {
            (Asked::Instance(_), Content::Message(call)) => ("/".to_owned(), call.clone()),
            (Asked::OpenApi(action), Content::Parameters(parameters)) => {
                let parameters: Vec<_> = parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
                (query(&parameters), self.by_access_key(cell.credential, action, &parameters))
            }
            (Asked::Instance(_), Content::Parameters(_)) | (Asked::OpenApi(_), Content::Message(_)) => {
                unreachable!("what is sent fits the protocol")
            }
        };
        (path, call.set("x-forwarded-for", cell.address.text()))
    }

    fn by_client_key(&self, credential: Credential, operation: Operation, body: &[u8]) -> Call {
        let call = self.bench.call_with(operation.name(), body.to_vec());
        let by = |credential| {
            let client = self.client(credential);
            call.clone().set("x-kms-acccesskeyid", &client.id).sign(client)
        };
        let all = self.client(Credential::KeyUserOfAll);
        match credential {
            Credential::None => by(Credential::KeyUserOfAll).without("authorization"),
            Credential::WrongSignature => call.set("x-kms-acccesskeyid", &all.id).sign(self.client(Credential::KeyUser)),
            Credential::OldDate => {
                let old = date::to_http(Timestamp::from_unix(self.bench.clock.now().unix() - 901));
                call.set("x-kms-acccesskeyid", &all.id).set("date", &old).sign(all)
            }
            Credential::Unknown => call.set("x-kms-acccesskeyid", UNKNOWN).sign(all),
            Credential::ExpiredClientKey
            | Credential::FutureClientKey
            | Credential::NoPolicy
            | Credential::KeyUser
            | Credential::KeyUserOfAll
            | Credential::SecretUser
            | Credential::Shared => by(credential),
            Credential::Administrator => call.set("x-kms-acccesskeyid", self.bench.operator.access_key.as_str()).sign(all),
            Credential::Session => {
                let session = self.session(credential);
                let call = call.set("x-kms-acccesskeyid", session.credentials.id.as_str());
                call.set("x-acs-security-token", &session.token).sign(all)
            }
            Credential::DisabledAccessKey
            | Credential::NoStatement
            | Credential::Exactly
            | Credential::OtherActions
            | Credential::OtherResource
            | Credential::Denied
            | Credential::NarrowedSession
            | Credential::SessionOfNothing
            | Credential::ExpiredSession
            | Credential::SessionWithAccessPoint => unreachable!("AccessKeys do not sign messages"),
        }
    }

    fn by_access_key(&self, credential: Credential, action: Action, parameters: &[(&str, &str)]) -> Call {
        let (root, root_secret) = (self.bench.operator.access_key.as_str(), secret(&self.bench));
        let with_token = |id: &str, secret: &SecretBytes, now: Timestamp, token: Option<&str>| {
            signed_call(&self.bench, (id, secret), AcsScheme::V3, action.name(), parameters, |headers| {
                headers.retain(|(name, _)| name != "x-acs-date");
                headers.push(("x-acs-date".to_owned(), date::to_iso(now)));
                headers.extend(token.map(|token| ("x-acs-security-token".to_owned(), token.to_owned())));
            })
        };
        let by = |id: &str, secret: &SecretBytes, now: Timestamp| with_token(id, secret, now, None);
        let now = self.bench.clock.now();
        match credential {
            Credential::None => by(root, &root_secret, now).without("authorization"),
            Credential::WrongSignature => by(root, &self.access_key(Credential::NoStatement).secret, now),
            Credential::OldDate => by(root, &root_secret, Timestamp::from_unix(now.unix() - 901)),
            Credential::Unknown => by(UNKNOWN, &root_secret, now),
            Credential::KeyUserOfAll => by(&self.client(credential).id, &root_secret, now),
            Credential::DisabledAccessKey
            | Credential::NoStatement
            | Credential::Exactly
            | Credential::OtherActions
            | Credential::OtherResource
            | Credential::Denied => {
                let key = self.access_key(credential);
                by(key.info.id.as_str(), &key.secret, now)
            }
            Credential::Administrator => by(root, &root_secret, now),
            Credential::Session
            | Credential::NarrowedSession
            | Credential::SessionOfNothing
            | Credential::ExpiredSession
            | Credential::SessionWithAccessPoint => {
                let session = self.session(credential);
                with_token(session.credentials.id.as_str(), &session.credentials.secret, now, Some(&session.token))
            }
            Credential::ExpiredClientKey
            | Credential::FutureClientKey
            | Credential::NoPolicy
            | Credential::KeyUser
            | Credential::SecretUser
            | Credential::Shared => unreachable!("one client key stands for all at the OpenAPI"),
        }
    }

    /// Gives the operators and sessions their statements about an operation that needs this in scope, and that out of scope.
    async fn authorise(&self, in_scope: &[Need], out_of_scope: &[Need]) {
        let allow =
            |needs: &[Need]| -> Value { needs.iter().map(|(action, resource)| allow_inside(&[action], &[resource])).collect() };
        let needed = |other: &&str| in_scope.iter().any(|(action, _)| action == other);
        let others: Vec<_> = Action::ALL.iter().map(|other| other.permission()).filter(|other| !needed(other)).collect();
        let deny = |(action, resource): &Need| json!({ "Effect": "Deny", "Action": action, "Resource": resource });
        let denied = [vec![allow_inside(&["*"], &["*"])], in_scope.iter().map(deny).collect()].concat();
        self.allow(Credential::Exactly, &allow(in_scope)).await;
        self.allow(Credential::OtherActions, &json!([allow_inside(&others, &["*"])])).await;
        self.allow(Credential::OtherResource, &allow(out_of_scope)).await;
        self.allow(Credential::Denied, &json!(denied)).await;
        self.allow(Credential::Session, &allow(in_scope)).await;
        self.bench.kms.refresh().await.unwrap();
        let mut actions: Vec<_> = in_scope.iter().map(|(action, _)| action.as_str()).collect();
        actions.sort_unstable();
        actions.dedup();
        let other = if needed(&"kms:ListKeys") { "kms:DescribeKey" } else { "kms:ListKeys" };
        self.begin_session(Credential::Session, Some(&allow_everywhere(&actions)), SESSION);
        self.begin_session(Credential::NarrowedSession, Some(&allow_everywhere(&[other])), SESSION);
    }
}

/// A cell with what is sent for it and what is to be answered.
struct Question {
    cell: Cell,
    content: Arc<Content>,
    expected: &'static str,
}

/// What came of all cells.
#[derive(Default)]
struct Outcome {
    /// How many cells of a protocol got an answer.
    answers: BTreeMap<(&'static str, String), usize>,
    wrong: Vec<String>,
}

impl Outcome {
    fn note(&mut self, question: &Question, answer: String) {
        if answer != question.expected {
            self.wrong.push(format!("{}: {answer} instead of {}", question.cell, question.expected));
        }
        *self.answers.entry((question.cell.request.protocol(), answer)).or_default() += 1;
    }

    fn cells(&self) -> usize {
        self.answers.values().sum()
    }
}

/// Status and code, of either protocol.
fn shown(answer: &Answer) -> String {
    if answer.status == 200 {
        return "200".to_owned();
    }
    let code = if answer.headers["content-type"].as_bytes().starts_with(b"application/json") {
        answer.json()["Code"].as_str().unwrap_or_default().to_owned()
    } else {
        ErrorMessage::decode(answer.body.as_ref()).expect("the body is an Error").error_code
    };
    format!("{} {code}", answer.status)
}

/// One connection to each endpoint.
struct Connections(Vec<(Endpoint, SendRequest<Full<Bytes>>)>);

impl Connections {
    async fn new(world: &World) -> Self {
        let mut connections = Vec::new();
        for endpoint in Endpoint::ALL {
            connections.push((*endpoint, world.bench.http2(world.address(*endpoint)).await));
        }
        Self(connections)
    }

    /// Asks, so many at once.
    async fn ask(&self, world: &Arc<World>, questions: Vec<Question>, at_once: usize, outcome: &mut Outcome) {
        let permits = Arc::new(Semaphore::new(at_once));
        let mut asking = JoinSet::new();
        for question in questions {
            let endpoint = question.cell.endpoint;
            let mut sender = self.0.iter().find(|(of, _)| *of == endpoint).expect("each has one").1.clone();
            let (world, permits) = (Arc::clone(world), Arc::clone(&permits));
            asking.spawn(async move {
                let _permit = permits.acquire().await.unwrap();
                let (path, call) = world.signed(&question.cell, &question.content);
                let sent = sender.send_request(request(world.address(endpoint), &path, call)).await.unwrap();
                let answer = shown(&answer_of(sent).await);
                (question, answer)
            });
        }
        while let Some(asked) = asking.join_next().await {
            let (question, answer) = asked.unwrap();
            outcome.note(&question, answer);
        }
    }
}

/// An operation about resources: first what is to change nothing, all of it at once, and then the rest.
async fn ask(world: &Arc<World>, connections: &Connections, questions: Vec<Question>, outcome: &mut Outcome) {
    let Some(first) = questions.first() else { return };
    let (name, effect) = match first.cell.request {
        // One data key pair at a time is made.
        Asked::Instance(operation) => (operation.name(), Effect::Change),
        Asked::OpenApi(action) => (action.name(), action.effect()),
    };
    let (served, refused): (Vec<_>, Vec<_>) = questions.into_iter().partition(|question| question.expected == "200");
    let before = world.bench.store.revision().await.unwrap();
    connections.ask(world, refused, AT_ONCE, outcome).await;
    if world.bench.store.revision().await.unwrap() != before {
        outcome.wrong.push(format!("{name}: what was not to be done has changed something"));
    }
    let at_once = match effect {
        Effect::None => AT_ONCE,
        Effect::Change => 1,
    };
    connections.ask(world, served, at_once, outcome).await;
}

/// The cells of an operation of the instance protocol.
fn messages(world: &World, operation: Operation, tables: &mut Tables) -> Vec<Question> {
    let (asked, mut questions) = (Asked::Instance(operation), Vec::new());
    for resource in Resource::ALL {
        let Some(message) = instance::message(world, operation, *resource) else { continue };
        for credential in asked.credentials() {
            let content = Arc::new(Content::Message(world.by_client_key(*credential, operation, &message)));
            questions.extend(Cell::all(asked, *credential, *resource).map(|cell| Question {
                cell,
                content: Arc::clone(&content),
                expected: tables.answer(&cell),
            }));
        }
    }
    questions
}

/// The cells of an operation of the OpenAPI about some of the resources; the operators get the statements that belong to them. What is
/// to be changed is something else in each cell.
async fn parameters(world: &World, action: Action, resources: &[Resource], tables: &mut Tables) -> Vec<Question> {
    let (asked, mut questions) = (Asked::OpenApi(action), Vec::new());
    let (mut in_scope, mut out_of_scope) = (Vec::new(), Vec::new());
    for resource in resources {
        let Some(common) = openapi::request(world, action, *resource).await else { continue };
        let mut note = |needs: Vec<Need>| match resource {
            Resource::None | Resource::InScope => in_scope.extend(needs),
            Resource::OutOfScope => out_of_scope.extend(needs),
            Resource::Elsewhere | Resource::Absent => {}
        };
        note(common.needs);
        let common = Arc::new(Content::Parameters(common.parameters));
        for cell in asked.credentials().iter().flat_map(|credential| Cell::all(asked, *credential, *resource)) {
            let expected = tables.answer(&cell);
            let content = match action.effect() {
                Effect::Change if expected == "200" => {
                    let own = openapi::request(world, action, *resource).await.expect("there is one more");
                    note(own.needs);
                    Arc::new(Content::Parameters(own.parameters))
                }
                Effect::Change | Effect::None => Arc::clone(&common),
            };
            questions.push(Question { cell, content, expected });
        }
    }
    if out_of_scope.is_empty() {
        let other = world.keys(Resource::OutOfScope).expect("there are keys out of scope");
        out_of_scope.extend(in_scope.iter().map(|(action, _)| (action.clone(), format!("acs:kms:*:*:key/{}", other.aes))));
    }
    if !in_scope.is_empty() {
        world.authorise(&in_scope, &out_of_scope).await;
    }
    questions
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_authorisation_matrix() {
    let begun = Instant::now();
    for credential in Credential::ALL {
        let protocols = [Asked::Instance(Operation::Encrypt), Asked::OpenApi(Action::Encrypt)];
        assert!(protocols.iter().any(|asked| asked.credentials().contains(credential)), "{} is asked by", credential.name());
    }
    let world = Arc::new(World::new().await);
    let connections = Connections::new(&world).await;
    let (mut tables, mut outcome) = (Tables::new(), Outcome::default());
    for operation in Operation::ALL {
        let questions = messages(&world, operation, &mut tables);
        ask(&world, &connections, questions, &mut outcome).await;
    }
    for action in Action::ALL {
        // A statement that speaks of everything would speak of what is out of scope, too.
        for resources in [&[Resource::None][..], &Resource::ALL[1..]] {
            let questions = parameters(&world, *action, resources, &mut tables).await;
            ask(&world, &connections, questions, &mut outcome).await;
        }
    }
    outcome.wrong.sort();
    println!("{} cells in {:?}", outcome.cells(), begun.elapsed());
    for ((protocol, answer), cells) in &outcome.answers {
        println!("{cells:6}  {protocol}: {answer}");
    }
    assert!(outcome.wrong.is_empty(), "{} are wrong:\n{}", outcome.wrong.len(), outcome.wrong.join("\n"));
    assert!(tables.unused().is_empty(), "no cell is as these lines say:\n{}", tables.unused().join("\n"));
}
