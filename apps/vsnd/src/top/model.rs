//! State of the screen: the last status, meters, rates, the selection. The model knows neither terminal nor socket nor
//! clock.

use std::collections::HashMap;
use std::time::Duration;

use ::control::{Request, Status, Stream, Target};
use sndif::store::StreamAddress;

use super::arrange::Arrangement;
use super::connection::Report;
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
pub(super) enum Connection {
    /// The daemon has not been asked yet.
    Waiting,
    Up,
    /// The daemon does not answer, for this reason.
    Gone(String),
}

/// Everything that the screen shows.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) connection: Connection,
    /// The last status; kept when the daemon is gone.
    pub(super) status: Status,
    pub(super) rows: Vec<Row>,
    /// Lines below the list: guests without a worker, and cards without a stream.
    pub(super) others: Vec<String>,
    pub(super) arrangement: Arrangement,
    pub(super) message: Message,
    pub(super) help: bool,
    pub(super) rates: Rates,
    meters: HashMap<StreamAddress, Vec<Meter>>,
    /// The stream that was selected, listed or not.
    selected: Option<StreamAddress>,
    /// Row of the selected stream, or where it was before it went away.
    place: usize,
    /// Requests of ours that have not been answered.
    unanswered: usize,
}

impl Model {
    pub(super) fn new() -> Self {
        Self {
            connection: Connection::Waiting,
            status: Status::default(),
            rows: Vec::new(),
            others: Vec::new(),
            arrangement: Arrangement::default(),
            message: Message::Nothing,
            help: false,
            rates: Rates::default(),
            meters: HashMap::new(),
            selected: None,
            place: 0,
            unanswered: 0,
        }
    }

    /// Takes a report of the connection at `now`, counted from a fixed moment.
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
                self.connection = Connection::Gone(text::plain(&reason));
                self.meters.clear();
                self.rates = Rates::default();
                self.rows.iter_mut().for_each(|row| row.notifications = None);
            }
        }
    }

    fn show(&mut self, status: Status, now: Duration) {
        if matches!(self.connection, Connection::Gone(_)) {
            self.message = Message::Done("the daemon is back".to_owned());
        }
        let is_first = std::mem::replace(&mut self.connection, Connection::Up) == Connection::Waiting;
        self.rates.update(&status);
        self.meters.retain(|id, _| status.streams().any(|(other, _)| other == *id));
        for (id, stream) in status.streams() {
            let meters = self.meters.entry(id).or_default();
            meters.resize(if is_open(stream) { stream.levels_db.len() } else { 0 }, Meter::default());
            meters.iter_mut().zip(&stream.levels_db).for_each(|(meter, level)| meter.update(*level, now));
        }
        self.status = status;
        self.arrange();
        // Later on, only the user selects: a key must not act on a stream that took another one's place.
        if is_first {
            self.select(0);
        }
    }

    /// Lists those streams of the last status that are chosen.
    pub(super) fn arrange(&mut self) {
        let status = &self.status;
        self.rows.clear();
        self.others.clear();
        for guest in &status.guests {
            let domain = text::domain_of(status, guest);
            if let Some(state) = text::worker_state(guest).filter(|_| self.arrangement.has(&domain)) {
                self.others.push(format!("guest {}: {state}", text::plain(&domain)));
            }
            for card in &guest.cards {
                if card.streams.is_empty() && !self.arrangement.hides_idle {
                    let name = format!("{domain}/{}", card.card);
                    if self.arrangement.has(&name) {
                        let (card, state) = (text::plain(&name), text::card_state(card));
                        self.others.push(format!("card {card}: {state}, no stream is connected"));
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
        if let Some(place) = self.selected_row() {
            self.place = place;
        }
    }

    /// The row of the selected stream; `None` if it is not listed, until it is again or the user selects another.
    pub(super) fn selected_row(&self) -> Option<usize> {
        let id = self.selected?;
        self.rows.iter().position(|row| row.id == id)
    }

    /// The row of the selected stream, or the one that took its place: it is kept on the screen.
    pub(super) fn place(&self) -> usize {
        self.place.min(self.rows.len().saturating_sub(1))
    }

    pub(super) fn selected(&self) -> Option<&Row> {
        self.rows.get(self.selected_row()?)
    }

    /// Selects a row, or the last one if there are fewer.
    pub(super) fn select(&mut self, place: usize) {
        if let Some(last) = self.rows.len().checked_sub(1) {
            self.place = place.min(last);
            self.selected = Some(self.rows[self.place].id);
        }
    }

    /// Selects the stream `rows` above the selected one.
    pub(super) fn select_above(&mut self, rows: usize) {
        self.select(self.place.saturating_sub(rows));
    }

    /// Selects the stream `rows` below the selected one. Where that went away, the next one has its place.
    pub(super) fn select_below(&mut self, rows: usize) {
        let has_moved_up = usize::from(self.selected_row().is_none());
        self.select(self.place.saturating_add(rows - has_moved_up));
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
