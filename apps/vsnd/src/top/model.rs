//! State of the screen: the last status, meters, rates, the selection. The model knows neither terminal nor socket nor
//! clock.

use std::collections::HashMap;
use std::time::Duration;

use ::control::{Request, Status, Stream, Target};
use sndif::store::StreamAddress;

use super::arrange::Arrangement;
use super::link::Report;
use super::meter::Meter;
use super::rates::Rates;
use super::row::{Row, is_open};
use crate::text;

/// Message on the bottom line.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Message {
    Nothing,
    Done(String),
    Failed(String),
    /// The same key again disconnects this card.
    Sure(Target),
}

/// State of the connection to the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Link {
    /// The daemon has not been asked yet.
    Waiting,
    Up,
    /// The daemon does not answer, for this reason.
    Gone(String),
}

/// Everything that the screen shows.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) link: Link,
    /// The last status; kept when the daemon is gone.
    pub(super) status: Status,
    pub(super) rows: Vec<Row>,
    /// Cards without a stream: their names and states.
    pub(super) idle_cards: Vec<(String, String)>,
    pub(super) arrangement: Arrangement,
    pub(super) message: Message,
    pub(super) help: bool,
    pub(super) rates: Rates,
    meters: HashMap<StreamAddress, Vec<Meter>>,
    /// The selected stream and the row where it was seen last.
    selected: Option<(StreamAddress, usize)>,
    /// Requests of ours that have not been answered.
    unanswered: usize,
}

impl Model {
    pub(super) fn new() -> Self {
        Self {
            link: Link::Waiting,
            status: Status::default(),
            rows: Vec::new(),
            idle_cards: Vec::new(),
            arrangement: Arrangement::default(),
            message: Message::Nothing,
            help: false,
            rates: Rates::default(),
            meters: HashMap::new(),
            selected: None,
            unanswered: 0,
        }
    }

    /// Takes a report of the link at `now`, counted from a fixed moment.
    pub(super) fn take(&mut self, report: Report, now: Duration) {
        match report {
            // A status from before a request of ours was done would show the old volume again.
            Report::Status(_) if self.unanswered > 0 => {}
            Report::Status(status) => self.show(*status, now),
            Report::Answer(answer) => {
                self.unanswered = self.unanswered.saturating_sub(1);
                self.message = match answer {
                    Ok(done) => Message::Done(text::plain(&done)),
                    Err(refused) => Message::Failed(text::plain(&refused)),
                };
            }
            Report::Gone(reason) => {
                self.link = Link::Gone(text::plain(&reason));
                self.meters.clear();
                self.rates = Rates::default();
                self.rows.iter_mut().for_each(|row| row.notifications = None);
            }
        }
    }

    fn show(&mut self, status: Status, now: Duration) {
        if matches!(self.link, Link::Gone(_)) {
            self.message = Message::Done("the daemon is back".to_owned());
        }
        self.link = Link::Up;
        self.rates.update(&status);
        self.meters.retain(|id, _| status.streams().any(|(other, _)| other == *id));
        for (id, stream) in status.streams() {
            let meters = self.meters.entry(id).or_default();
            meters.resize(if is_open(stream) { stream.levels_db.len() } else { 0 }, Meter::default());
            meters.iter_mut().zip(&stream.levels_db).for_each(|(meter, level)| meter.update(*level, now));
        }
        self.status = status;
        self.arrange();
    }

    /// Lists those streams of the last status that are chosen.
    pub(super) fn arrange(&mut self) {
        let status = &self.status;
        self.rows.clear();
        self.idle_cards.clear();
        for guest in &status.guests {
            let domain = text::domain_of(status, guest);
            for card in &guest.cards {
                if card.streams.is_empty() && !self.arrangement.hides_idle {
                    let name = format!("{domain}/{}", card.card);
                    if self.arrangement.has(&name) {
                        self.idle_cards.push((name, text::card_state(card)));
                    }
                }
                for stream in &card.streams {
                    let Stream { pcm, stream: index, .. } = *stream;
                    let id = StreamAddress { domain: guest.domain, card: card.card, pcm, stream: index };
                    self.rows.push(Row {
                        id,
                        target: text::target_of(&domain, id),
                        card_name: card.name.clone(),
                        protocol: card.protocol.clone(),
                        violations: card.violations,
                        connections: card.connections,
                        stream: stream.clone(),
                        notifications: self.rates.notifications(id),
                    });
                }
            }
        }
        self.arrangement.apply(&mut self.rows);
        self.select(self.selected_row().unwrap_or(0));
    }

    /// The row of the selected stream, or the one that took its place.
    pub(super) fn selected_row(&self) -> Option<usize> {
        let (id, place) = self.selected?;
        let last = self.rows.len().checked_sub(1)?;
        Some(self.rows.iter().position(|row| row.id == id).unwrap_or(place.min(last)))
    }

    pub(super) fn selected(&self) -> Option<&Row> {
        self.rows.get(self.selected_row()?)
    }

    /// Selects a row, or the last one if there are fewer.
    pub(super) fn select(&mut self, place: usize) {
        let place = place.min(self.rows.len().saturating_sub(1));
        self.selected = self.rows.get(place).map(|row| (row.id, place));
    }

    pub(super) fn meters(&self, id: StreamAddress) -> &[Meter] {
        self.meters.get(&id).map_or(&[], Vec::as_slice)
    }

    pub(super) fn xruns(&self) -> u64 {
        self.status.streams().map(|(_, stream)| stream.xruns).sum()
    }

    /// Remembers that `request`, about the selected stream, is on its way, and shows its expected result already: the
    /// next key goes on from there.
    pub(super) fn sent(&mut self, request: &Request) {
        self.unanswered += 1;
        let Some(row) = self.selected_row() else { return };
        let stream = &mut self.rows[row].stream;
        match *request {
            Request::Volume { volume_db, .. } => stream.volume_db = volume_db,
            Request::Mute { on, .. } => stream.muted = on,
            Request::Capture { allow, .. } => stream.permitted = allow,
            _ => {}
        }
    }
}
