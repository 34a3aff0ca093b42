//! `keystead hsm status`: what the running server says of its slots, once or again and again.
//!
//! It asks the server's telemetry, which asks no module: looking costs the HSM nothing.

use std::path::Path;
use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::page::{self, Before, Paint};
use super::screen::Screen;
use super::the_instance;
use crate::app::files::Files;
use crate::app::output::{Shown, print};
use crate::app::running::{self, Answer};
use crate::base::{Clock, Error, Kind, Result, SystemClock};
use crate::config::Config;
use crate::model::InstanceId;
use crate::wire::date;
use crate::wire::slots::{AllSlots, InstanceSlots, Token};

/// How it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::app) enum Form {
    /// For a person.
    Page,
    /// For a program.
    Json,
}

/// How often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::app) enum Looks {
    Once,
    /// Until SIGINT or SIGTERM.
    Every(Duration),
}

/// Shows the slots of all instances, or of one.
pub(in crate::app) async fn run(config: &Path, instance: Option<&InstanceId>, form: Form, looks: Looks) -> Result<()> {
    let config = Config::load(config)?;
    let path = match instance {
        Some(id) => format!("/slots/{}", the_instance(&config, id)?.id),
        None => "/slots".to_owned(),
    };
    let files = Files::of(&config);
    let every = match looks {
        Looks::Every(every) => every,
        Looks::Once => {
            let answer = checked(running::ask(&files, &path).await?)?;
            let text = match form {
                Form::Page => page::page(&slots(&answer, instance)?, None, Screen::new().paint()),
                Form::Json => format!("{:#}\n", value(&answer)?),
            };
            print(text.as_bytes());
            return Ok(());
        }
    };
    // Before anything is shown: what is shown may be answered by a signal at once.
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::internal)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::internal)?;
    let mut screen = Screen::new();
    let ended = {
        let watching = async {
            match form {
                Form::Page => watch(&files, &path, instance, every, &mut screen).await,
                Form::Json => stream(&files, &path, every).await,
            }
        };
        tokio::select! {
            ended = watching => ended,
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
        }
    };
    screen.leave();
    ended
}

/// A page at every look. A server that ends or begins changes what is shown, and nothing else.
async fn watch(files: &Files<'_>, path: &str, instance: Option<&InstanceId>, every: Duration, screen: &mut Screen) -> Result<()> {
    let mut before: Option<Look> = None;
    let mut timer = timer(every);
    loop {
        timer.tick().await;
        let (text, look) = match look(files, path, instance).await {
            Ok(look) => (look.page(before.as_ref(), every, screen.paint()), Some(look)),
            Err(error) => (format!("{}\n\n{error}\n", heading("keystead", every)), None),
        };
        before = look;
        if screen.show(&text) == Shown::Unread {
            return Ok(());
        }
    }
}

/// A line of JSON at every look.
async fn stream(files: &Files<'_>, path: &str, every: Duration) -> Result<()> {
    let mut timer = timer(every);
    loop {
        timer.tick().await;
        let answer = running::ask(files, path).await.and_then(checked).and_then(|answer| value(&answer));
        let line = answer.unwrap_or_else(|error| json!({ "error": error.message() }));
        if print(format!("{line}\n").as_bytes()) == Shown::Unread {
            return Ok(());
        }
    }
}

fn timer(every: Duration) -> tokio::time::Interval {
    let mut timer = interval(every);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    timer
}

/// What was seen at a time, of which process.
struct Look {
    pid: u32,
    endpoint: String,
    at: Instant,
    instances: Vec<InstanceSlots>,
}

async fn look(files: &Files<'_>, path: &str, instance: Option<&InstanceId>) -> Result<Look> {
    let answer = checked(running::ask(files, path).await?)?;
    let instances = slots(&answer, instance)?;
    Ok(Look { pid: answer.pid, endpoint: answer.endpoint, at: Instant::now(), instances })
}

impl Look {
    fn page(&self, before: Option<&Self>, every: Duration, paint: Paint) -> String {
        let before = before
            .filter(|before| before.pid == self.pid)
            .map(|before| Before { instances: &before.instances, ago: self.at.saturating_duration_since(before.at) });
        let heading = heading(&format!("keystead at {}", self.endpoint), every);
        format!("{heading}\n\n{}", page::page(&self.instances, before, paint))
    }
}

fn heading(who: &str, every: Duration) -> String {
    format!("{who}  {}  every {} s, until Ctrl-C", date::to_iso(SystemClock.now()), every.as_secs_f64())
}

/// Anything but 200 says in a line what is wrong.
fn checked(answer: Answer) -> Result<Answer> {
    if answer.status == StatusCode::OK {
        return Ok(answer);
    }
    let text = String::from_utf8_lossy(&answer.body);
    Err(Error::new(Kind::Unavailable, text.trim_end()))
}

fn foreign(answer: &Answer, error: &serde_json::Error) -> Error {
    let text = format!("What {} says of its slots is not understood; is it of another version?", answer.endpoint);
    Error::new(Kind::Unavailable, text).caused_by(error.to_string())
}

fn value(answer: &Answer) -> Result<Value> {
    serde_json::from_slice(&answer.body).map_err(|error| foreign(answer, &error))
}

fn slots(answer: &Answer, instance: Option<&InstanceId>) -> Result<Vec<InstanceSlots>> {
    let read = match instance {
        Some(_) => serde_json::from_slice(&answer.body).map(|slots| vec![slots]),
        None => serde_json::from_slice(&answer.body).map(|AllSlots { instances }| instances),
    };
    read.map_err(|error| foreign(answer, &error))
}

/// An instance's tokens, as the running server found them.
pub(super) async fn tokens(files: &Files<'_>, instance: &InstanceId) -> Result<Vec<Token>> {
    let answer = checked(running::ask(files, &format!("/slots/{instance}")).await?)?;
    let instances = slots(&answer, Some(instance))?;
    Ok(instances.into_iter().flat_map(|of| of.slots).filter_map(|slot| slot.token).collect())
}
