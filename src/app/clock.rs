//! `keystead clock`: whether the date is relied on for what cannot be undone, and the word of an operator that it is right.

use std::path::Path;

use super::audit::{Done, Witness};
use super::files::Files;
use super::output::say;
use super::watched_clock::WatchedClock;
use super::{ClockCommand, assembly};
use crate::base::{Clock, Result, date};
use crate::config::Config;

pub(super) async fn run(config: &Path, command: Option<ClockCommand>) -> Result<()> {
    let config = Config::load(config)?;
    let files = Files::of(&config);
    let clock = WatchedClock::open(&files);
    match command {
        None => {
            show(&clock);
            Ok(())
        }
        Some(ClockCommand::Confirm) => confirm(&config, &files, &clock).await,
    }
}

fn show(clock: &WatchedClock) {
    let watch = clock.look();
    say!("date              {}", date::to_iso(watch.last.date));
    say!("latest date seen  {}", date::to_iso(watch.latest));
    say!("not moved since   {}, for {} minutes", date::to_iso(watch.since.date), watch.agreed().as_secs() / 60);
    match clock.settled() {
        Ok(_) => say!("relied on         yes: keys, material and audit records whose time has come are destroyed"),
        Err(why) => {
            say!("relied on         no: keys, material and audit records whose time has come are not destroyed yet");
            say!("                  {}", why.message());
        }
    }
}

async fn confirm(config: &Config, files: &Files<'_>, clock: &WatchedClock) -> Result<()> {
    let store = assembly::store(config).await?;
    let witness = Witness::begin(config, &store).await?;
    let confirmed = clock.confirm(files);
    let told = confirmed.as_ref().map_or_else(|_| String::new(), |date| date::to_iso(*date));
    let done = Done { operation: "clock confirm", instance: None, resource: Some(&told) };
    let confirmed = witness.end(&store, done, confirmed).await;
    store.close().await;
    say!("The date {} is right: a server relies on it some seconds from now, until the clock is moved.", date::to_iso(confirmed?));
    Ok(())
}
