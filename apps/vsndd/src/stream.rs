//! A connected stream: the part that is the same in each version of the protocol. [`v0`] and [`v2`] have the rest.

mod v0;
mod v2;

use backend::{Counters, Frames};
use control::EventKind;
use host_audio::StreamAddress;
use sndif::store::Direction;
use xen::{DomainId, EventChannel, Xen};

use crate::card::{Kind, StreamNodes};
use crate::endpoint::Endpoint;
use crate::host::{HostSide, told};
use crate::policy::Route;
use crate::poller::Poller;
use crate::quota::{Account, Quota};
use crate::transport::Attached;
use crate::turn::{After, Turn};

/// A stream of a card, as guest and toolstack describe it.
pub(crate) struct Asked<'a> {
    pub(crate) guest: DomainId,
    /// The guest's name, if it is known.
    pub(crate) name: Option<&'a str>,
    pub(crate) label: StreamAddress,
    pub(crate) nodes: &'a StreamNodes,
}

/// A connected stream with its place among the others.
pub(crate) struct Served {
    pub(crate) stream: Box<dyn Stream>,
    /// Time that the timers hold for this stream.
    pub(crate) scheduled_ns: Option<u64>,
    /// True while the stream is in the queue of those that wait for their turn.
    pub(crate) queued: bool,
}

/// A connected stream, whatever its protocol.
pub(crate) trait Stream {
    /// The event channel of the ring.
    fn channel(&self) -> &EventChannel;

    /// Goes on with another ring; does nothing where the protocol has no such step.
    fn resume(&mut self, ring: Attached);

    /// Applies changed routes; `route` is the host's route for a direction.
    fn change(&mut self, kind: &Kind, route: &dyn Fn(Direction) -> Route, turn: &mut Turn<'_>);

    /// Time at which the stream has to be served again.
    fn next_wake_ns(&self, poller: &Poller) -> Option<u64>;

    /// Notes a notification from the guest.
    fn guest_woke(&mut self);

    /// Handles what is in the ring and moves frames.
    fn turn(&mut self, turn: &mut Turn<'_>) -> After;

    /// Serves the stream after the host device's descriptor became readable.
    fn device_woke(&mut self, turn: &mut Turn<'_>);

    /// State of the stream; with `levels`, the stream measures levels from now on.
    fn describe(&self, nodes: &StreamNodes, levels: bool) -> control::Stream;

    /// Stops measuring levels.
    fn stop_measuring(&self);
}

/// A version of the protocol; the value is what only its streams have.
trait Protocol: Sized {
    type Core: Frames;
    type Ring;
    /// A request that takes several turns.
    type Underway;
    /// True if the guest is told the position in events.
    const HAS_EVENTS: bool;

    fn counters(core: &Self::Core) -> Counters;

    /// Time at which the core has to be looked at again.
    fn next_wake_ns(core: &Self::Core) -> Option<u64>;

    /// Host side of a direction.
    fn endpoint(&self, direction: Option<Direction>) -> &Endpoint;

    /// Applies changed routes to the endpoints, and their bounds to the core.
    fn change(&mut self, core: &mut Self::Core, label: StreamAddress, kind: &Kind, route: &dyn Fn(Direction) -> Route);

    /// Goes on with another ring.
    fn resume(_stream: &mut GuestStream<Self>, _ring: Attached) {}

    /// Handles what is in the ring and moves frames.
    fn serve(stream: &mut GuestStream<Self>, turn: &mut Turn<'_>) -> After;
}

/// A connected stream: its ring on the guest's side, the core in between, a sink or a source on the host's side.
struct GuestStream<P: Protocol> {
    guest: DomainId,
    core: P::Core,
    ring: P::Ring,
    channel: EventChannel,
    own: P,
    host: HostSide,
    /// The guest's next requests wait until this one is answered.
    underway: Option<P::Underway>,
    /// Bound of all buffers of the guest.
    quota: Quota,
    /// Notifications that came from the guest.
    notified: u64,
    /// True while the guest's event is being handled; its port is held until that is done.
    holds_port: bool,
    /// Notifications sent to the guest.
    notifications: u64,
    /// Times that sound was lost, as far as that was reported.
    told_xruns: u64,
    /// Time of the last turn.
    turned_ns: u64,
}

impl Asked<'_> {
    /// Maps the stream's pages and binds its channels; `route` is the host's route for a direction.
    pub(crate) fn connect(
        &self,
        xen: &Xen,
        account: Account,
        route: impl Fn(Direction) -> Route,
    ) -> xen::Result<Served> {
        let ring = self.nodes.ring.attach(xen, self.guest)?;
        let stream: Box<dyn Stream> = match &self.nodes.kind {
            Kind::V0(direction) => Box::new(v0::connect(self, *direction, ring, account, route)),
            Kind::V2(described) => {
                let events = described.events.attach(xen, self.guest)?;
                Box::new(v2::connect(self, described, [ring, events], account, route(described.direction)))
            }
        };
        Ok(Served { stream, scheduled_ns: None, queued: false })
    }

    /// Host side of the stream, under a title made of guest, card and the stream's own name.
    fn endpoint(&self, route: Route) -> Endpoint {
        let StreamAddress { domain, card, pcm, stream } = self.label;
        let guest = self.name.map_or_else(|| format!("domain {domain}"), str::to_owned);
        let name = match self.nodes.label() {
            "" => format!("PCM {pcm} stream {stream}"),
            name => name.to_owned(),
        };
        Endpoint::new(route, format!("{guest}: card {card} {name}"))
    }
}

impl<P: Protocol> GuestStream<P> {
    fn new(
        guest: DomainId,
        label: StreamAddress,
        account: Account,
        core: P::Core,
        ring: P::Ring,
        channel: EventChannel,
        own: P,
    ) -> Self {
        Self {
            guest,
            core,
            ring,
            channel,
            own,
            host: HostSide::new(label, account.log),
            underway: None,
            quota: account.quota,
            notified: 0,
            holds_port: false,
            notifications: 0,
            told_xruns: 0,
            turned_ns: 0,
        }
    }

    /// Tells the guest of answers in the ring.
    fn notify(&mut self) {
        // A closed other end is no error; the store reports the guest's death.
        let _ = self.channel.notify();
        self.notifications += 1;
    }

    /// Closes the host's side for the guest.
    fn close_host(&mut self, turn: &mut Turn<'_>) {
        if self.host.is_open() {
            turn.journal.push(EventKind::Close, self.host.label(), "closed by the guest");
        }
        self.close_device();
    }

    fn close_device(&mut self) {
        let Counters { frames, requests, errors, events, .. } = P::counters(&self.core);
        let events = if P::HAS_EVENTS { format!("{events} events, ") } else { String::new() };
        self.host.close(
            self.turned_ns,
            format_args!(
                "{frames} frames since it was connected, {requests} requests ({errors} refused), {events}{} xruns",
                self.told_xruns,
            ),
        );
    }
}

impl<P: Protocol> Stream for GuestStream<P> {
    fn channel(&self) -> &EventChannel {
        &self.channel
    }

    fn resume(&mut self, ring: Attached) {
        P::resume(self, ring);
    }

    fn change(&mut self, kind: &Kind, route: &dyn Fn(Direction) -> Route, turn: &mut Turn<'_>) {
        self.own.change(&mut self.core, self.host.label(), kind, route);
        self.host.change(self.own.endpoint(self.core.direction()), &mut self.core, turn);
    }

    fn next_wake_ns(&self, poller: &Poller) -> Option<u64> {
        P::next_wake_ns(&self.core).into_iter().chain(self.host.next_wake_ns(poller)).min()
    }

    fn guest_woke(&mut self) {
        self.notified += 1;
        self.holds_port = true;
    }

    fn turn(&mut self, turn: &mut Turn<'_>) -> After {
        self.turned_ns = turn.now_ns;
        self.host.attend(&mut self.core, turn);
        let after = P::serve(self, turn);
        let xruns = P::counters(&self.core).xruns + self.host.xruns();
        if xruns != self.told_xruns {
            self.host.tell_xruns(xruns - self.told_xruns, turn);
            self.told_xruns = xruns;
        }
        // The port is released only now that its work is done (XSA-331). In a turn that the clock or the device began
        // it is not held: releasing it would consume an event that came since the last look at the ring, and that event
        // would be lost.
        if after != After::More && std::mem::take(&mut self.holds_port) {
            let _ = self.channel.rearm();
        }
        after
    }

    fn device_woke(&mut self, turn: &mut Turn<'_>) {
        self.host.device_woke(&mut self.core, turn);
    }

    fn describe(&self, nodes: &StreamNodes, levels: bool) -> control::Stream {
        let StreamAddress { pcm, stream, .. } = self.host.label();
        let counters = P::counters(&self.core);
        let direction = self.core.direction().or(nodes.direction());
        let mut stream = control::Stream {
            pcm,
            stream,
            pcm_name: nodes.pcm_name.clone(),
            label: nodes.label().to_owned(),
            direction: direction.map(told),
            requests: counters.requests,
            refused: counters.errors,
            frames: counters.frames,
            xruns: self.told_xruns,
            notifications_in: self.notified,
            notifications_out: self.notifications,
            ..control::Stream::default()
        };
        self.host.describe(&self.core, self.own.endpoint(direction), &mut stream, levels);
        stream
    }

    fn stop_measuring(&self) {
        self.host.stop_measuring();
    }
}

impl<P: Protocol> Drop for GuestStream<P> {
    fn drop(&mut self) {
        // The host's side is closed before the buffer is unmapped: also when the guest vanished in the middle.
        self.close_device();
    }
}
