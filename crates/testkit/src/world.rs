//! An emulated machine with a daemon, guests and their cards.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use config::{ConfigSource, Worker};
use control::{Client, ClientError, Reply, Request, Status};
use sndif::{Protocol, XenbusState};
use tempfile::TempDir;
use toolstack::{AttachError, Restart};
use vsndd::{Daemon, Ended, Launch, Running as Started, Sockets};
use xen::{DomainId, Xen, XenSpec, emu};

use crate::census::{Census, WatchMeter};
use crate::signal::assert_same;
use crate::wait::{PATIENCE, eventually, wait_for};

/// The serving domain.
const HOST: DomainId = DomainId(0);

/// A guest's number.
pub type Guest = DomainId;

/// The daemon's log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Runs `run` with this thread's log output going to this log.
    fn takes<T>(&self, run: impl FnOnce() -> T) -> T {
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || log.clone())
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .finish();
        tracing::subscriber::with_default(subscriber, run)
    }
}

/// Workers as threads, so that a test can count their resources, and notices their panics.
#[derive(Default)]
pub struct Threads {
    log: Log,
    /// Number of workers whose end was not handled yet.
    count: Arc<AtomicUsize>,
}

struct Thread {
    handle: Option<JoinHandle<()>>,
    count: Arc<AtomicUsize>,
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Launch for Threads {
    fn launch(
        &mut self,
        own: DomainId,
        guest: DomainId,
        _name: &str,
        lent: OwnedFd,
        link: UnixStream,
        _limits: &Worker,
    ) -> io::Result<Box<dyn Started>> {
        let log = self.log.clone();
        let run = move || match log.takes(|| vsndd::work(own, guest, lent, link, |_, _| Ok(None), |_, _| {})) {
            Ok(_) => {}
            Err(error) => panic!("the worker of domain {guest}: {error}"),
        };
        let thread = std::thread::Builder::new().name(format!("worker {guest}")).spawn(run)?;
        self.count.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(Thread { handle: Some(thread), count: Arc::clone(&self.count) }))
    }
}

impl Started for Thread {
    // The thread ends when its lent part of Xen is taken back.
    fn kill(&mut self) {}

    fn is_over(&mut self) -> bool {
        match self.handle.take_if(|thread| thread.is_finished()) {
            Some(thread) => {
                assert!(thread.join().is_ok(), "a worker panicked");
                true
            }
            None => self.handle.is_none(),
        }
    }

    fn process(&self) -> Option<u32> {
        None
    }
}

struct Running {
    stop: UnixStream,
    reload: UnixStream,
    xen: Xen,
    thread: JoinHandle<Ended>,
}

/// An emulated machine.
///
/// Playback goes to WAV files in the world's directory, one for each stream and OPEN ([`played`](Self::played)).
pub struct World {
    // Fields are dropped in this order: the daemon before the machine, the machine before its directory.
    daemon: Option<Running>,
    store: xenstore::Client,
    /// Created when watches are counted for the first time.
    meter: Option<WatchMeter>,
    /// Keeps the connections to the store open.
    host: Xen,
    emulation: Option<emu::Handle>,
    log: Log,
    /// Number of the daemon's workers.
    workers: Arc<AtomicUsize>,
    dir: TempDir,
}

impl World {
    /// A machine whose daemon records playback and lets guests capture silence.
    #[must_use]
    pub fn new() -> Self {
        Self::with_config(|_| "capture = true\n".to_owned())
    }

    /// A machine with a configuration; `config` gets the directory and need not name a sink.
    ///
    /// # Panics
    /// If the machine cannot be started.
    #[must_use]
    pub fn with_config(config: impl FnOnce(&Path) -> String) -> Self {
        let mut world = Self::without_daemon(config);
        world.start_daemon();
        world
    }

    /// A machine without a running daemon.
    ///
    /// # Panics
    /// If the machine cannot be started.
    #[must_use]
    pub fn without_daemon(config: impl FnOnce(&Path) -> String) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let emulation = emu::spawn_with(&dir.path().join("xen"), Restart).expect("an emulated Xen");
        let host = emulation.open(HOST).expect("its host domain");
        let store = host.store().expect("its store");
        let mut config = config(dir.path());
        if !config.starts_with("sink") && !config.contains("\nsink") {
            let sink = dir.path().join("{domain}-{card}-{pcm}-{stream}.wav");
            config = format!("sink = \"wav:{}\"\n{config}", sink.display());
        }
        std::fs::write(dir.path().join("vsndd.toml"), config).expect("a file");
        Self {
            daemon: None,
            store,
            meter: None,
            host,
            emulation: Some(emulation),
            log: Log::default(),
            workers: Arc::default(),
            dir,
        }
    }

    /// Directory of this machine's files.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn machine(&self) -> &emu::Handle {
        self.emulation.as_ref().expect("it is there until the world is dropped")
    }

    /// The argument of other processes for `Xen::open`.
    #[must_use]
    pub fn spec(&self) -> XenSpec {
        self.machine().spec()
    }

    /// Enters as a domain.
    ///
    /// # Panics
    /// If the emulation refuses.
    #[must_use]
    pub fn enter(&self, guest: Guest) -> Xen {
        self.machine().open(guest).expect("the emulation lets every domain in")
    }

    /// The host's store.
    pub fn store(&mut self) -> &mut xenstore::Client {
        &mut self.store
    }

    /// Starts the daemon.
    ///
    /// # Panics
    /// If the daemon cannot start, or runs already.
    pub fn start_daemon(&mut self) {
        self.start_daemon_in(HOST);
    }

    /// Starts the daemon in a driver domain.
    ///
    /// # Panics
    /// If the daemon cannot start, or runs already.
    pub fn start_daemon_in(&mut self, domain: DomainId) {
        assert!(self.daemon.is_none(), "the daemon runs already");
        let source = ConfigSource { file: Some(self.config_path()), ..ConfigSource::default() };
        let settings = source.settings().expect("a configuration");
        let xen = self.enter(domain);
        let socket = self.socket();
        let (reload, reloaded) = UnixStream::pair().expect("a socket pair");
        let (stop, stopped) = UnixStream::pair().expect("a socket pair");
        let (started, starting) = mpsc::channel();
        let state = self.dir.path().to_owned();
        let (its_xen, log, count) = (xen.clone(), self.log.clone(), Arc::clone(&self.workers));
        let run = move || {
            log.takes(|| {
                let config = settings.config().expect("a configuration");
                let sockets = Sockets::open(&config, &socket).expect("a control socket");
                let store = its_xen.store().expect("a store");
                let shared = its_xen.store_fd().expect("a store");
                let threads = Threads { log: log.clone(), count };
                let mut daemon = match Daemon::new(its_xen, store, shared, settings, threads) {
                    Ok(daemon) => daemon,
                    Err(error) => panic!("the daemon does not start: {error}"),
                };
                daemon.add_controls(source, sockets, Some(state), reloaded).expect("controls");
                daemon.begin().expect("a guest's fault is no error");
                let _ = started.send(());
                daemon.run(stopped.as_fd()).expect("a guest's fault is no error")
            })
        };
        let thread = std::thread::Builder::new().name("vsndd".into()).spawn(run).expect("a thread");
        starting.recv().expect("the daemon starts");
        self.daemon = Some(Running { stop, reload, xen, thread });
    }

    /// Path of the daemon's configuration.
    #[must_use]
    pub fn config_path(&self) -> PathBuf {
        self.dir.path().join("vsndd.toml")
    }

    /// Path of the daemon's control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("control.sock")
    }

    /// Sends a request to the daemon.
    ///
    /// # Errors
    /// Same as [`Client::ask`].
    pub fn ask(&self, request: &Request) -> Result<Reply, ClientError> {
        Client::connect(&self.socket())?.ask(request)
    }

    /// The daemon's status.
    ///
    /// # Panics
    /// If the daemon does not answer.
    #[must_use]
    pub fn status(&self) -> Status {
        match self.ask(&Request::List { levels: false }) {
            Ok(Reply::Status(status)) => status,
            other => panic!("{other:?}"),
        }
    }

    /// Makes the daemon reload its configuration like SIGHUP, without waiting for the result.
    ///
    /// # Panics
    /// If the daemon does not run.
    pub fn hang_up(&mut self) {
        let daemon = self.daemon.as_mut().expect("the daemon runs");
        daemon.reload.write_all(b"x").expect("the daemon listens");
    }

    /// Stops the daemon and waits for its end.
    ///
    /// # Panics
    /// If the daemon does not run, or ends for another reason.
    pub fn stop_daemon(&mut self) {
        let Running { mut stop, thread, reload: _reload, xen: _xen } = self.daemon.take().expect("the daemon runs");
        stop.write_all(b"x").expect("the daemon listens");
        assert!(eventually(PATIENCE, || thread.is_finished()), "the daemon does not end");
        assert_eq!(thread.join().expect("the daemon does not panic"), Ended::Asked);
    }

    /// Waits until the daemon serves no guest and all its workers have ended.
    ///
    /// # Panics
    /// If a guest is still served.
    pub fn wait_unserved(&self) {
        assert!(eventually(PATIENCE, || self.workers.load(Ordering::SeqCst) == 0), "a guest is served still");
    }

    /// Returns true if the daemon runs and has not panicked.
    #[must_use]
    pub fn daemon_runs(&self) -> bool {
        self.daemon.as_ref().is_some_and(|daemon| !daemon.thread.is_finished())
    }

    /// Resources of Xen that the daemon holds; none while it does not run.
    #[must_use]
    pub fn daemon_usage(&self) -> xen::Usage {
        self.daemon.as_ref().map(|daemon| daemon.xen.usage()).unwrap_or_default()
    }

    /// The daemon's log so far.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&self.log.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Attaches the cards of an xl.cfg line (`vsnd = …`, only the value) like `xl`.
    ///
    /// # Panics
    /// If the text is wrong or the store refuses.
    pub fn attach(&mut self, guest: Guest, cards: &str) {
        self.attach_as(guest, cards, Protocol::V2);
    }

    /// Like [`attach`](Self::attach), for a protocol; with version 0 every stream becomes a card.
    ///
    /// # Panics
    /// Same as [`attach`](Self::attach).
    pub fn attach_as(&mut self, guest: Guest, cards: &str, protocol: Protocol) {
        let cards = toolstack::parse(cards).unwrap_or_else(|error| panic!("{cards}: {error}"));
        toolstack::attach(&mut self.store, guest, &cards, protocol).expect("the store takes the nodes");
    }

    /// Attaches a card with one playback stream.
    pub fn attach_playback(&mut self, guest: Guest) {
        self.attach(guest, PLAYBACK);
    }

    /// Attaches a card with one playback and one capture stream.
    pub fn attach_duplex(&mut self, guest: Guest) {
        self.attach(guest, DUPLEX);
    }

    /// Detaches a card like `xl`.
    ///
    /// # Errors
    /// Same as [`toolstack::detach`].
    pub fn detach(&mut self, guest: Guest, card: u32) -> Result<(), AttachError> {
        toolstack::detach(&mut self.store, guest, Some(card), PATIENCE).map(drop)
    }

    /// Removes a card's nodes without informing either driver.
    ///
    /// # Panics
    /// If the store refuses.
    pub fn remove_nodes(&mut self, guest: Guest, card: u32) {
        let record = format!("/libxl/{guest}/device/vsnd/{card}");
        let kept = format!("/vsnd/attached/{guest}/{card}");
        for path in [backend_path(guest, card), frontend_path(guest, card), record, kept] {
            match self.store.rm(&path) {
                Err(error) if !error.is_not_found() => panic!("{error}"),
                _ => {}
            }
        }
    }

    /// Writes a node of a guest's card, owned by the guest; `path` is relative to the card's directory.
    ///
    /// # Panics
    /// If the store refuses.
    pub fn put(&mut self, guest: Guest, card: u32, path: &str, value: &[u8]) {
        let node = format!("{}/{path}", frontend_path(guest, card));
        self.store.write(&node, value).expect("the host may write");
        let perms = [xenstore::Perm::none(guest.0), xenstore::Perm::read(0)];
        self.store.set_perms(&node, &perms).expect("the host may do that");
    }

    /// State of a card's backend half.
    pub fn backend_state(&mut self, guest: Guest, card: u32) -> XenbusState {
        let path = format!("{}/state", backend_path(guest, card));
        XenbusState::from_node(&self.store.read_opt(&path).ok().flatten().unwrap_or_default())
    }

    /// State of a card's frontend half.
    pub fn frontend_state(&mut self, guest: Guest, card: u32) -> XenbusState {
        let path = format!("{}/state", frontend_path(guest, card));
        XenbusState::from_node(&self.store.read_opt(&path).ok().flatten().unwrap_or_default())
    }

    /// Waits until a card's backend half is in `state`.
    ///
    /// # Panics
    /// If the backend does not reach it.
    pub fn wait_backend(&mut self, guest: Guest, card: u32, state: XenbusState) {
        if !eventually(PATIENCE, || self.backend_state(guest, card) == state) {
            let now = self.backend_state(guest, card);
            panic!("the backend of {guest}/{card} is {now}, not {state}; its log:\n{}", self.log());
        }
    }

    /// Counts all resources.
    ///
    /// # Panics
    /// If the emulation does not answer.
    pub fn census(&mut self) -> Census {
        let meter = self.meter.get_or_insert_with(|| WatchMeter::new(&self.host));
        let watches = meter.count();
        let machine = self.machine().stats().expect("the emulation counts");
        Census { machine, daemon: self.daemon_usage(), watches }
    }

    /// Waits until all counts equal `before`.
    ///
    /// # Panics
    /// If they stay different.
    pub fn assert_settles_at(&mut self, before: Census) {
        let cheap = |world: &Self| (world.machine().stats().expect("the emulation counts"), world.daemon_usage());
        eventually(PATIENCE, || cheap(self) == (before.machine, before.daemon));
        let after = self.census();
        assert!(after == before, "something leaked:\nbefore {before}\nafter  {after}\n{}", self.log());
    }

    /// Waits until at least `bytes` bytes were played at the `number`th OPEN with sound (from 1) of a stream such as
    /// `1-0-0-0` (domain, card, PCM, stream), and returns that sound.
    ///
    /// # Panics
    /// If fewer bytes are played.
    #[must_use]
    pub fn played(&self, stream: &str, number: usize, bytes: usize) -> Vec<u8> {
        let mut sounds = Vec::new();
        let there = || {
            sounds = self.sounds(stream);
            sounds.get(number - 1).is_some_and(|sound| sound.len() >= bytes)
        };
        if eventually(PATIENCE, there) {
            return sounds.swap_remove(number - 1);
        }
        let lengths: Vec<usize> = sounds.iter().map(Vec::len).collect();
        panic!("sound {number} of {stream} is not {bytes} bytes long; there are {lengths:?}");
    }

    /// The sounds played at every OPEN of a stream, without empty ones.
    #[must_use]
    pub fn sounds(&self, stream: &str) -> Vec<Vec<u8>> {
        const FILES_MAX: u32 = 64;
        // Write all sound played so far to the files.
        let _ = host_audio::finish_all(Duration::from_secs(1));
        let path = self.dir.path().join(format!("{stream}.wav"));
        let read = |number| host_audio::wav::read_file(&host_audio::wav::numbered(&path, number)).ok();
        (1..FILES_MAX).filter_map(read).map(|audio| audio.data).filter(|data| !data.is_empty()).collect()
    }

    /// Fails unless exactly `wanted` was played at that OPEN, trailing zeroes aside.
    ///
    /// # Panics
    /// If another sound was played.
    pub fn assert_played(&self, stream: &str, number: usize, wanted: &[u8]) {
        let mut got = self.played(stream, number, wanted.len());
        let sound = got.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        got.truncate(sound.max(wanted.len()));
        assert_same(&got, wanted);
    }

    /// Names of the recorded WAV files, with the number of sound bytes of each.
    #[must_use]
    pub fn recordings(&self) -> BTreeMap<String, usize> {
        let mut found = BTreeMap::new();
        for entry in std::fs::read_dir(self.dir.path()).into_iter().flatten().flatten() {
            if let Ok(audio) = host_audio::wav::read_file(&entry.path()) {
                found.insert(entry.file_name().to_string_lossy().into_owned(), audio.data.len());
            }
        }
        found
    }

    /// Waits until the store considers a domain dead.
    pub fn wait_dead(&mut self, guest: Guest) {
        wait_for("the domain's death", || (!self.store.is_domain_introduced(guest.0).unwrap_or(true)).then_some(()));
    }
}

/// The value of a `vsnd` line for a card with one playback stream.
pub const PLAYBACK: &str = "[['CARD, short-name=Test', 'PCM, name=main', 'STREAM, unique-id=p0, type=p']]";

/// The value of a `vsnd` line for a card with a playback and a capture stream.
pub const DUPLEX: &str =
    "[['CARD, short-name=Test', 'PCM, name=main', 'STREAM, unique-id=p0, type=p', 'STREAM, unique-id=c0, type=c']]";

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let Some(Running { mut stop, thread, xen, reload: _reload }) = self.daemon.take() else { return };
        drop(xen);
        let _ = stop.write_all(b"x");
        if std::thread::panicking() {
            eprintln!("--- the daemon's log ---\n{}", self.log());
        } else {
            assert!(eventually(Duration::from_secs(20), || thread.is_finished()), "the daemon does not end");
            assert!(thread.join().is_ok(), "the daemon panicked:\n{}", self.log());
        }
    }
}

/// Path of a guest's half of a card.
pub(crate) fn frontend_path(guest: Guest, card: u32) -> String {
    format!("/local/domain/{guest}/device/vsnd/{card}")
}

/// Path of the host's half of a card.
pub(crate) fn backend_path(guest: Guest, card: u32) -> String {
    format!("/local/domain/{HOST}/backend/vsnd/{guest}/{card}")
}
