//! Handling of each request. Payload formats are those of `docs/misc/xenstore.txt`.

use super::conn::{Conn, ConnId, Watch};
use super::store::Store;
use super::tree::{Changes, Overlay};
use super::view::{View, check_new_perms};
use crate::errno::StoreErrno;
use crate::path;
use crate::perm;
use crate::wire::{Message, Op, PAYLOAD_MAX, strings};

type Result<T> = std::result::Result<T, StoreErrno>;

const OK: &[u8] = b"OK\0";

/// A handled request: the reply's payload, and the watch events that follow the reply.
struct Done {
    payload: Vec<u8>,
    after: After,
}

enum After {
    Nothing,
    Fire(Changes),
    /// The new watch with this key fires once.
    FirstEvent(u64),
    Introduced(u16),
    Released(u16),
}

impl Done {
    fn reply(payload: impl Into<Vec<u8>>) -> Self {
        Self { payload: payload.into(), after: After::Nothing }
    }

    fn ok(after: After) -> Self {
        Self { payload: OK.to_vec(), after }
    }
}

impl Store {
    /// Handles one request of a client. The reply comes first, then the events of its changes.
    pub(super) fn handle(&mut self, id: ConnId, message: &Message) {
        let Some(mut conn) = self.conns.remove(&id) else { return };
        let done = self
            .perform(&mut conn, message)
            .and_then(|done| if done.payload.len() > PAYLOAD_MAX { Err(StoreErrno::TooBig) } else { Ok(done) });
        let (kind, payload, after) = match done {
            Ok(done) => (message.kind, done.payload, done.after),
            Err(errno) => (Op::Error.raw(), format!("{}\0", errno.name()).into_bytes(), After::Nothing),
        };
        conn.emit(&Message { kind, req_id: message.req_id, tx_id: message.tx_id, payload });
        if let After::FirstEvent(key) = after {
            // Not subject to permissions: the event only means that the watch exists.
            let path = conn.watches.get(&key).map(|watch| watch.absolute.clone()).unwrap_or_default();
            conn.note(key, &path);
            conn.pump_events();
        }
        self.conns.insert(id, conn);
        match after {
            After::Fire(changes) => self.fire(&changes),
            After::Introduced(domid) => self.domain_introduced(domid),
            After::Released(domid) => self.domain_released(domid),
            After::Nothing | After::FirstEvent(_) => {}
        }
    }

    fn perform(&mut self, conn: &mut Conn, message: &Message) -> Result<Done> {
        let op = message.op().ok_or(StoreErrno::NoSys)?;
        if message.tx_id != 0 && !conn.transactions.contains_key(&message.tx_id) {
            return Err(StoreErrno::NoEnt);
        }
        let payload = message.payload.as_slice();
        match op {
            Op::Read | Op::Directory | Op::DirectoryPart => self.serve_look(conn, op, message.tx_id, payload),
            Op::GetPerms => self.serve_get_perms(conn, message.tx_id, payload),
            Op::Write => {
                let (path, value) = self.path_and_rest(conn.domain, payload)?;
                self.serve_change(conn, message.tx_id, |view| view.write(&path, value))
            }
            Op::Mkdir => {
                let path = self.only_path(conn.domain, payload)?;
                self.serve_change(conn, message.tx_id, |view| view.mkdir(&path))
            }
            Op::Rm => {
                let path = self.only_path(conn.domain, payload)?;
                self.serve_change(conn, message.tx_id, |view| view.rm(&path))
            }
            Op::SetPerms => self.serve_set_perms(conn, message.tx_id, payload),
            Op::Watch => self.serve_watch(conn, payload),
            Op::Unwatch => unwatch(conn, payload),
            Op::ResetWatches => {
                conn.reset();
                Ok(Done::ok(After::Nothing))
            }
            Op::TransactionStart => self.serve_start(conn, message.tx_id),
            Op::TransactionEnd => self.serve_end(conn, message.tx_id, payload),
            Op::GetDomainPath => {
                let [domid] = strings(payload).ok_or(StoreErrno::Inval)?;
                Ok(Done::reply(format!("{}\0", path::domain_dir(number(domid)?))))
            }
            Op::IsDomainIntroduced => {
                let [domid] = strings(payload).ok_or(StoreErrno::Inval)?;
                let known = self.introduced.contains(&number(domid)?);
                Ok(Done::reply(if known { *b"T\0" } else { *b"F\0" }))
            }
            Op::Introduce => {
                privileged(conn)?;
                // Page and port are for stores that share memory with the domain; here the server's owner connects it.
                let [domid, page, port] = strings(payload).ok_or(StoreErrno::Inval)?;
                let (domid, _, _): (u16, u64, u32) = (number(domid)?, number(page)?, number(port)?);
                Ok(Done::ok(After::Introduced(domid)))
            }
            Op::Release => {
                privileged(conn)?;
                let [domid] = strings(payload).ok_or(StoreErrno::Inval)?;
                match number(domid)? {
                    0 => Err(StoreErrno::Inval),
                    domid if self.introduced.contains(&domid) => Ok(Done::ok(After::Released(domid))),
                    _ => Err(StoreErrno::NoEnt),
                }
            }
            Op::Control | Op::Resume | Op::SetTarget | Op::WatchEvent | Op::Error => Err(StoreErrno::NoSys),
        }
    }

    fn serve_look(&self, conn: &mut Conn, op: Op, tx_id: u32, payload: &[u8]) -> Result<Done> {
        if op == Op::DirectoryPart {
            let [path, offset] = strings(payload).ok_or(StoreErrno::Inval)?;
            let path = self.node_path(conn.domain, path)?;
            let offset = number(offset)?;
            let (generation, list) = self.view(conn, tx_id, |view| view.directory(&path))?;
            return Ok(Done::reply(part_of_directory(generation, &list, offset)?));
        }
        let path = self.only_path(conn.domain, payload)?;
        self.view(conn, tx_id, |view| match op {
            Op::Read => Ok(Done::reply(view.read(&path)?)),
            _ => Ok(Done::reply(view.directory(&path)?.1)),
        })
    }

    fn serve_get_perms(&self, conn: &mut Conn, tx_id: u32, payload: &[u8]) -> Result<Done> {
        let [path] = strings(payload).ok_or(StoreErrno::Inval)?;
        if path.first() == Some(&b'@') {
            let perms = std::str::from_utf8(path).ok().and_then(|name| self.special.get(name));
            let perms = perms.ok_or(StoreErrno::NoEnt)?;
            let readable = perm::access(perms, conn.domain).reads();
            return if readable { Ok(Done::reply(perm::emit_list(perms))) } else { Err(StoreErrno::Acces) };
        }
        let path = self.node_path(conn.domain, path)?;
        self.view(conn, tx_id, |view| Ok(Done::reply(perm::emit_list(&view.get_perms(&path)?))))
    }

    fn serve_set_perms(&mut self, conn: &mut Conn, tx_id: u32, payload: &[u8]) -> Result<Done> {
        let (path, list) = split_first_string(payload)?;
        let perms = perm::parse_list(list)?;
        if path.first() == Some(&b'@') {
            let limits = *self.limits(conn.domain);
            let known = std::str::from_utf8(path).ok().and_then(|name| self.special.get_mut(name));
            let known = known.ok_or(StoreErrno::NoEnt)?;
            check_new_perms(known, &perms, conn.domain, &limits)?;
            *known = perms;
            return Ok(Done::ok(After::Nothing));
        }
        let path = self.node_path(conn.domain, path)?;
        self.serve_change(conn, tx_id, |view| view.set_perms(&path, perms))
    }

    /// Runs an operation in its transaction if there is one, otherwise on a throw-away overlay (for reading).
    fn view<T>(&self, conn: &mut Conn, tx_id: u32, body: impl FnOnce(&mut View<'_>) -> Result<T>) -> Result<T> {
        let domain = conn.domain;
        let mut single = Overlay::single();
        let overlay = conn.transactions.get_mut(&tx_id).unwrap_or(&mut single);
        body(&mut View { tree: &self.tree, overlay, domain, limits: self.limits(domain) })
    }

    fn serve_change(
        &mut self,
        conn: &mut Conn,
        tx_id: u32,
        body: impl FnOnce(&mut View<'_>) -> Result<()>,
    ) -> Result<Done> {
        if tx_id == 0 {
            return Ok(Done::ok(After::Fire(self.commit_single(conn.domain, body)?)));
        }
        self.view(conn, tx_id, body)?;
        Ok(Done::ok(After::Nothing))
    }

    fn serve_start(&mut self, conn: &mut Conn, tx_id: u32) -> Result<Done> {
        if tx_id != 0 {
            return Err(StoreErrno::Busy);
        }
        let same = self.conns.values().filter(|other| other.domain == conn.domain);
        let open = same.fold(conn.transactions.len(), |sum, other| sum.saturating_add(other.transactions.len()));
        if open >= self.limits(conn.domain).transactions {
            return Err(StoreErrno::NoSpc);
        }
        let mut id = conn.last_transaction;
        loop {
            id = id.wrapping_add(1);
            if id != 0 && !conn.transactions.contains_key(&id) {
                break;
            }
        }
        conn.last_transaction = id;
        conn.transactions.insert(id, Overlay::transaction());
        Ok(Done::reply(format!("{id}\0")))
    }

    fn serve_end(&mut self, conn: &mut Conn, tx_id: u32, payload: &[u8]) -> Result<Done> {
        let commit = match payload {
            b"T\0" => true,
            b"F\0" => false,
            _ => return Err(StoreErrno::Inval),
        };
        let overlay = conn.transactions.remove(&tx_id).ok_or(StoreErrno::NoEnt)?;
        if !commit {
            return Ok(Done::ok(After::Nothing));
        }
        let limits = *self.limits(conn.domain);
        Ok(Done::ok(After::Fire(self.tree.commit(overlay, conn.domain, &limits)?)))
    }

    fn serve_watch(&mut self, conn: &mut Conn, payload: &[u8]) -> Result<Done> {
        let (path, token) = watch_arguments(payload)?;
        if conn.watches.values().any(|watch| watch.path == path && watch.token == token) {
            return Err(StoreErrno::Exist);
        }
        let same = self.conns.values().filter(|other| other.domain == conn.domain);
        let count = same.fold(conn.watches.len(), |sum, other| sum.saturating_add(other.watches.len()));
        if count >= self.limits(conn.domain).watches {
            return Err(StoreErrno::TooBig);
        }
        let absolute = path::absolute(path, conn.domain).into_owned();
        if absolute.len() > self.limits(conn.domain).path_bytes {
            return Err(StoreErrno::Inval);
        }
        let key = conn.next_watch;
        conn.next_watch = key.wrapping_add(1);
        conn.watches.insert(key, Watch { path: path.to_owned(), token: token.to_owned(), absolute });
        Ok(Done::ok(After::FirstEvent(key)))
    }

    fn node_path(&self, domain: u16, path: &[u8]) -> Result<String> {
        let path = path::check(path).map_err(|_| StoreErrno::Inval)?;
        let path = path::absolute(path, domain).into_owned();
        if path.len() > self.limits(domain).path_bytes { Err(StoreErrno::Inval) } else { Ok(path) }
    }

    fn only_path(&self, domain: u16, payload: &[u8]) -> Result<String> {
        let [path] = strings(payload).ok_or(StoreErrno::Inval)?;
        self.node_path(domain, path)
    }

    fn path_and_rest<'p>(&self, domain: u16, payload: &'p [u8]) -> Result<(String, &'p [u8])> {
        let (path, rest) = split_first_string(payload)?;
        Ok((self.node_path(domain, path)?, rest))
    }
}

fn unwatch(conn: &mut Conn, payload: &[u8]) -> Result<Done> {
    let (path, token) = watch_arguments(payload)?;
    let found = conn.watches.iter().find(|(_, watch)| watch.path == path && watch.token == token);
    let key = *found.ok_or(StoreErrno::NoEnt)?.0;
    conn.watches.remove(&key);
    conn.dirty.forget(key);
    Ok(Done::ok(After::Nothing))
}

/// Path and token. A depth, known to later stores, may follow and is ignored.
fn watch_arguments(payload: &[u8]) -> Result<(&str, &str)> {
    let [path, token] = match strings::<2>(payload) {
        Some(both) => both,
        None => {
            let [path, token, depth] = strings(payload).ok_or(StoreErrno::Inval)?;
            let _: u32 = number(depth)?;
            [path, token]
        }
    };
    let path = path::check_watchable(path).map_err(|_| StoreErrno::Inval)?;
    Ok((path, std::str::from_utf8(token).map_err(|_| StoreErrno::Inval)?))
}

fn privileged(conn: &Conn) -> Result<()> {
    if conn.domain == 0 { Ok(()) } else { Err(StoreErrno::Acces) }
}

fn number<T: std::str::FromStr>(text: &[u8]) -> Result<T> {
    let digits = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|digits| digits.parse().ok()).ok_or(StoreErrno::Inval)
}

fn split_first_string(payload: &[u8]) -> Result<(&[u8], &[u8])> {
    let end = payload.iter().position(|byte| *byte == 0).ok_or(StoreErrno::Inval)?;
    let (first, rest) = payload.split_at_checked(end).ok_or(StoreErrno::Inval)?;
    Ok((first, rest.strip_prefix(b"\0").unwrap_or_default()))
}

/// Part of a directory: `<generation>\0`, whole names from `offset` on, and an empty name if they are the last.
fn part_of_directory(generation: u64, list: &[u8], offset: usize) -> Result<Vec<u8>> {
    let rest = list.get(offset..).ok_or(StoreErrno::Inval)?;
    let mut part = format!("{generation}\0").into_bytes();
    // One byte is reserved for the empty name.
    let room = PAYLOAD_MAX.saturating_sub(part.len()).saturating_sub(1);
    if rest.len() <= room {
        part.extend_from_slice(rest);
        part.push(0);
        return Ok(part);
    }
    let fits = rest.get(..room).unwrap_or_default();
    let whole = fits.iter().rposition(|byte| *byte == 0).map_or(0, |last| last.saturating_add(1));
    part.extend_from_slice(fits.get(..whole).unwrap_or_default());
    Ok(part)
}
