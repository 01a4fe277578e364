//! The file that keeps settings of guests over restarts of guests, daemon and machine.
//!
//! A guest is recognized by its UUID, else by its name: a toolstack may give it another UUID at each start. A guest
//! that has neither is recognized by its number, until that domain is gone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use control::Target;
use serde::{Deserialize, Serialize};
use xen::DomainId;

use crate::device::Identity;
use crate::overrides::{Entry, Override, Overrides};

/// Name of the file in the directory for state.
const FILE: &str = "overrides.json";
/// Name under which a file that could not be parsed is put aside.
const DAMAGED: &str = "overrides.damaged";
/// Largest file that is read.
const BYTES_MAX: u64 = 16 << 20;
/// Maximum number of guests with overrides, and of overrides of all guests together.
const GUESTS_MAX: usize = 1024;
const OVERRIDES_MAX: usize = 16_384;

/// Identity of a guest for overrides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Who {
    domain: u16,
    name: Option<String>,
    uuid: Option<String>,
}

impl Who {
    pub(crate) fn new(domain: DomainId, identity: &Identity) -> Self {
        let Identity { name, uuid } = identity.clone();
        Self { domain: domain.0, name: name.filter(|name| !name.is_empty()), uuid }
    }

    /// Name of the guest for people.
    pub(crate) fn called(&self) -> String {
        self.name.clone().unwrap_or_else(|| format!("domain {}", self.domain))
    }
}

/// A guest and its overrides.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Guest {
    /// Number of a guest that has neither name nor UUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    domain: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uuid: Option<String>,
    overrides: Overrides,
}

impl Guest {
    fn of(who: &Who) -> Self {
        let Who { domain, name, uuid } = who.clone();
        let domain = (name.is_none() && uuid.is_none()).then_some(domain);
        Self { domain, name, uuid, overrides: Overrides::default() }
    }

    /// The guest's name for people, which is a target as well.
    fn called(&self) -> String {
        let number = self.domain.map(|domain| domain.to_string());
        self.name.clone().or_else(|| self.uuid.clone()).or(number).unwrap_or_default()
    }

    fn is_named_by(&self, target: &Target) -> bool {
        match self.domain {
            Some(domain) => target.names_guest(domain, None, None),
            // The number of a guest with a name or UUID is not kept.
            None => target.names(self.name.as_deref(), self.uuid.as_deref()),
        }
    }
}

/// An override that is over.
#[derive(Debug)]
pub(crate) struct Over {
    /// Guest of the override, if it is running.
    pub(crate) guest: Option<DomainId>,
    pub(crate) target: Target,
    pub(crate) entry: Entry,
}

/// All overrides by guest; the guest with the latest override is at the end.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kept {
    guests: Vec<Guest>,
}

impl Kept {
    /// Reads the overrides that are kept in `directory`; on failure, returns none, and says why.
    pub(crate) fn read(directory: &Path) -> (Self, Option<String>) {
        let path = directory.join(FILE);
        let mut text = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(BYTES_MAX + 1).read_to_end(&mut text));
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return (Self::default(), None),
            Err(error) => {
                let path = path.display();
                return (Self::default(), Some(format!("{path}: {error}: what was decided before is not known")));
            }
            Ok(_) => {}
        }
        let parsed = match u64::try_from(text.len()) {
            Ok(..=BYTES_MAX) => serde_json::from_slice::<Self>(&text).map_err(|error| error.to_string()),
            _ => Err(format!("it is larger than {BYTES_MAX} bytes")),
        };
        match parsed {
            Ok(mut kept) => {
                let dropped = kept.check();
                let warning = (dropped > 0).then(|| {
                    format!("{}: {dropped} of the overrides in it make no sense, and were dropped", path.display())
                });
                (kept, warning)
            }
            Err(error) => {
                let aside = directory.join(DAMAGED);
                let then = match fs::rename(&path, &aside) {
                    Ok(()) => format!("the file is {} now", aside.display()),
                    Err(error) => format!("it cannot be put aside: {error}"),
                };
                let path = path.display();
                (
                    Self::default(),
                    Some(format!("{path}: {error}: what was decided before is not known any more; {then}")),
                )
            }
        }
    }

    /// Writes the overrides to `directory`. After a crash of the machine the file is the old one or the new one, whole.
    pub(crate) fn write(&self, directory: &Path) -> io::Result<()> {
        let path = directory.join(FILE);
        let new = path.with_extension("new");
        // Only the owner may read which guests may capture.
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        file.write_all(&text)?;
        file.sync_data()?;
        fs::rename(&new, &path)
    }

    /// Overrides of a guest.
    pub(crate) fn of(&self, who: &Who) -> Overrides {
        self.find(who).map_or_else(Overrides::default, |index| self.guests[index].overrides.clone())
    }

    /// Adds an override of a guest.
    pub(crate) fn decide(&mut self, who: &Who, entry: Entry) {
        let mut overrides = match self.find(who) {
            Some(index) => self.guests.remove(index).overrides,
            None => Overrides::default(),
        };
        overrides.decide(entry);
        self.guests.push(Guest { overrides, ..Guest::of(who) });
        self.make_room();
    }

    /// Gives a guest's overrides its new identity. Returns true if anything changed.
    pub(crate) fn renamed(&mut self, old: &Who, new: &Who) -> bool {
        let was_named = self.named(new);
        self.moved(old, new) || was_named
    }

    /// Gives the overrides of a guest that had neither name nor UUID, and is known by its number, to its name and UUID.
    /// Where others are kept under these, the later ones are those of the running guest: one that was muted stays so.
    pub(crate) fn named(&mut self, who: &Who) -> bool {
        if who.name.is_none() && who.uuid.is_none() {
            return false;
        }
        let Some(index) = self.guests.iter().position(|guest| guest.domain == Some(who.domain)) else { return false };
        let Guest { overrides, .. } = self.guests.remove(index);
        overrides.iter().for_each(|entry| self.decide(who, entry.clone()));
        true
    }

    fn moved(&mut self, old: &Who, new: &Who) -> bool {
        let by_uuid = new.uuid.is_some() && self.guests.iter().any(|guest| same_uuid(&guest.uuid, &new.uuid));
        // Without a UUID this may be another guest under the same number, unless the old one had no name yet.
        if !by_uuid && (old.name.is_some() || self.find(new).is_some()) {
            return false;
        }
        let Some(index) = self.find(if by_uuid { new } else { old }) else { return false };
        let Guest { domain, name, uuid, .. } = Guest::of(new);
        let guest = &mut self.guests[index];
        let changed = (&guest.domain, &guest.name, &guest.uuid) != (&domain, &name, &uuid);
        (guest.domain, guest.name, guest.uuid) = (domain, name, uuid);
        changed
    }

    /// Forgets the overrides of the streams that a target names, `there` being the running guests that it names;
    /// returns their number.
    pub(crate) fn forget(&mut self, target: &Target, there: &[Who]) -> usize {
        let there: Vec<usize> = there.iter().filter_map(|who| self.find(who)).collect();
        let mut forgotten = 0;
        for (index, guest) in self.guests.iter_mut().enumerate() {
            if there.contains(&index) || guest.is_named_by(target) {
                forgotten += guest.overrides.forget(&target.part);
            }
        }
        self.tidy();
        forgotten
    }

    /// Forgets guests that have neither name nor UUID and are gone. Returns true if there were any.
    pub(crate) fn forget_nameless(&mut self, mut is_gone: impl FnMut(u16) -> bool) -> bool {
        let before = self.guests.len();
        self.guests.retain(|guest| !guest.domain.is_some_and(&mut is_gone));
        self.guests.len() != before
    }

    /// Removes and returns the overrides that are over; `there` are the running guests, with their numbers.
    pub(crate) fn expire(&mut self, now_ms: u64, there: &[(DomainId, Who)]) -> Vec<Over> {
        let numbers: Vec<(usize, DomainId)> =
            there.iter().filter_map(|(guest, who)| Some((self.find(who)?, *guest))).collect();
        let mut over = Vec::new();
        for (index, kept) in self.guests.iter_mut().enumerate() {
            let domain = kept.called();
            let guest = numbers.iter().find(|(its, _)| *its == index).map(|(_, guest)| *guest);
            over.extend(kept.overrides.expire(now_ms).into_iter().map(|entry| {
                let target = Target { domain: domain.clone(), part: entry.part };
                Over { guest, target, entry }
            }));
        }
        self.tidy();
        over
    }

    /// End of the first override that ends.
    pub(crate) fn next_end_ms(&self) -> Option<u64> {
        self.guests.iter().filter_map(|guest| guest.overrides.next_end_ms()).min()
    }

    /// All overrides, each with its target and its end.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Target, &Override, Option<u64>)> {
        self.guests.iter().flat_map(|guest| {
            let target = move |part| Target { domain: guest.called(), part };
            guest.overrides.iter().map(move |Entry { part, value, until_ms }| (target(*part), value, *until_ms))
        })
    }

    fn find(&self, who: &Who) -> Option<usize> {
        let Who { domain, name, uuid } = who;
        if name.is_none() && uuid.is_none() {
            return self.guests.iter().rposition(|guest| guest.domain == Some(*domain));
        }
        let by_uuid = || self.guests.iter().rposition(|guest| same_uuid(&guest.uuid, uuid));
        let by_name = || self.guests.iter().rposition(|guest| name.is_some() && guest.name == *name);
        by_uuid().or_else(by_name)
    }

    fn tidy(&mut self) {
        self.guests.retain(|guest| !guest.overrides.is_empty());
    }

    /// Drops invalid overrides and returns their number; makes room if there are too many.
    fn check(&mut self) -> usize {
        let dropped = self.guests.iter_mut().map(|guest| guest.overrides.check()).sum();
        self.tidy();
        self.make_room();
        dropped
    }

    /// Forgets the guests whose last override is the oldest, if there are too many.
    fn make_room(&mut self) {
        let mut overrides: usize = self.guests.iter().map(|guest| guest.overrides.len()).sum();
        let mut guests = self.guests.len();
        while guests > GUESTS_MAX || overrides > OVERRIDES_MAX {
            overrides -= self.guests[self.guests.len() - guests].overrides.len();
            guests -= 1;
        }
        self.guests.drain(..self.guests.len() - guests);
    }
}

fn same_uuid(one: &Option<String>, other: &Option<String>) -> bool {
    matches!((one, other), (Some(one), Some(other)) if one.eq_ignore_ascii_case(other))
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}

/// Path of the file in `directory`.
pub(crate) fn file_in(directory: &Path) -> PathBuf {
    directory.join(FILE)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use control::Part;

    use super::*;

    fn who(domain: u16, name: &str, uuid: &str) -> Who {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Who { domain, name: some(name), uuid: some(uuid) }
    }

    fn quiet(kept: &mut Kept, who: &Who, mdb: i32) {
        kept.decide(who, Entry { part: Part::default(), value: Override::VolumeMdb(mdb), until_ms: None });
    }

    fn volume(kept: &Kept, who: &Who) -> Option<i32> {
        kept.of(who).iter().find_map(|entry| match entry.value {
            Override::VolumeMdb(mdb) => Some(mdb),
            _ => None,
        })
    }

    #[test]
    fn a_guest_is_known_again_by_its_uuid_or_its_name() {
        let mut kept = Kept::default();
        quiet(&mut kept, &who(1, "studio", "AA"), -1);
        quiet(&mut kept, &who(2, "other", "bb"), -2);
        quiet(&mut kept, &who(3, "", ""), -3);
        assert_eq!(volume(&kept, &who(7, "renamed", "aa")), Some(-1));
        assert_eq!(volume(&kept, &who(7, "studio", "cc")), Some(-1), "a new UUID at each start");
        assert_eq!(volume(&kept, &who(7, "other", "aa")), Some(-1), "the UUID is surer");
        assert_eq!(volume(&kept, &who(1, "", "")), None, "the number of one that has a name");
        assert_eq!((volume(&kept, &who(3, "", "")), volume(&kept, &who(3, "x", ""))), (Some(-3), None));
        assert!(!kept.forget_nameless(|domain| domain != 3) && kept.forget_nameless(|domain| domain == 3));
        assert_eq!(volume(&kept, &who(3, "", "")), None);
    }

    #[test]
    fn what_is_kept_follows_a_guest_to_its_new_name() {
        let mut kept = Kept::default();
        quiet(&mut kept, &who(1, "a", "aa"), -1);
        assert!(kept.renamed(&who(1, "a", "aa"), &who(1, "b", "aa")));
        assert!(!kept.renamed(&who(1, "b", "aa"), &who(1, "b", "aa")));
        assert_eq!((volume(&kept, &who(2, "a", "")), volume(&kept, &who(2, "b", ""))), (None, Some(-1)));
        quiet(&mut kept, &who(3, "", ""), -3);
        assert!(kept.renamed(&who(3, "", ""), &who(3, "c", "")), "it had no name yet");
        assert_eq!(volume(&kept, &who(9, "c", "")), Some(-3));
        assert!(!kept.renamed(&who(3, "c", ""), &who(3, "d", "")), "another guest, perhaps");
        assert!(!kept.renamed(&who(4, "", ""), &who(4, "b", "")), "the guest of that name");
        assert!(!kept.named(&who(1, "b", "")) && !kept.named(&who(9, "", "")));
        assert_eq!((volume(&kept, &who(9, "b", "")), volume(&kept, &who(9, "c", ""))), (Some(-1), Some(-3)));
    }

    #[test]
    fn what_is_set_for_a_guest_without_a_name_holds_once_it_has_one() {
        for (name, uuid) in [("b", ""), ("", "bb"), ("new", ""), ("b", "bb"), ("new", "bb")] {
            let mut kept = Kept::default();
            quiet(&mut kept, &who(1, "b", "bb"), -1);
            let mute = Entry { part: Part::default(), value: Override::Muted(true), until_ms: None };
            kept.decide(&who(3, "", ""), mute.clone());
            let new = who(3, name, uuid);
            assert!(kept.named(&new) && !kept.named(&new), "{name} {uuid}");
            assert!(kept.of(&new).iter().any(|entry| *entry == mute), "{name} {uuid}: it is silent");
            let known = (name == "b" || uuid == "bb").then_some(-1);
            assert_eq!((volume(&kept, &new), volume(&kept, &who(3, "", ""))), (known, None), "{name} {uuid}");
        }
    }

    #[test]
    fn a_file_is_read_as_it_was_written_and_a_damaged_one_is_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Kept::read(dir.path()), (kept, None) if kept.guests.is_empty()));
        let mut kept = Kept::default();
        quiet(&mut kept, &who(1, "studio", "aa"), -1);
        kept.write(dir.path()).unwrap();
        let (read, warning) = Kept::read(dir.path());
        assert_eq!((volume(&read, &who(9, "studio", "")), warning), (Some(-1), None));
        assert_eq!(fs::metadata(file_in(dir.path())).unwrap().permissions().mode() & 0o777, 0o600);
        for (number, text) in
            ["", "{\"guests\":[", "\0\0\0", "{\"guests\":[{\"overrides\":7}]}", "[]"].iter().enumerate()
        {
            fs::write(file_in(dir.path()), text).unwrap();
            let (read, warning) = Kept::read(dir.path());
            assert!(read.guests.is_empty() && warning.unwrap().contains("overrides.damaged"), "{number}");
            assert_eq!(fs::read_to_string(dir.path().join(DAMAGED)).unwrap(), *text);
            assert!(!file_in(dir.path()).exists());
        }
        fs::write(
            file_in(dir.path()),
            "{\"guests\":[{\"name\":\"a\",\"overrides\":[{\"override\":{\"volume-mdb\":1000000}}]}]}",
        )
        .unwrap();
        let (read, warning) = Kept::read(dir.path());
        assert!(read.guests.is_empty() && warning.unwrap().contains("make no sense"));
        fs::remove_file(file_in(dir.path())).unwrap();
        fs::create_dir(file_in(dir.path())).unwrap();
        assert!(Kept::read(dir.path()).1.unwrap().contains("is not known"), "a directory in its place");
        assert!(kept.write(dir.path()).is_err());
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_guest_decided_about_last_stays() {
        let mut kept = Kept::default();
        for number in 0..=GUESTS_MAX {
            quiet(&mut kept, &who(1, &format!("guest {number}"), ""), -1);
        }
        assert_eq!((kept.guests.len(), volume(&kept, &who(1, "guest 0", ""))), (GUESTS_MAX, None));
        assert_eq!(volume(&kept, &who(1, &format!("guest {GUESTS_MAX}"), "")), Some(-1));
        for card in 0..17_000 {
            let part = Part { card: Some(card), ..Part::default() };
            let entry = Entry { part, value: Override::Muted(true), until_ms: None };
            kept.decide(&who(1, &format!("guest {}", card % 20), ""), entry);
        }
        let all: usize = kept.guests.iter().map(|guest| guest.overrides.len()).sum();
        assert!(all <= OVERRIDES_MAX, "{all}");
    }

    #[test]
    fn what_is_forgotten_is_named_as_everywhere() {
        let mut kept = Kept::default();
        for (domain, name) in [(1, "studio"), (2, "vault"), (3, "")] {
            quiet(&mut kept, &who(domain, name, ""), -1);
        }
        let mut forget = |target: &str, there: &[Who]| kept.forget(&target.parse().unwrap(), there);
        assert_eq!(["studio/0", "nobody", "1", "65535"].map(|target| forget(target, &[])), [0; 4]);
        assert_eq!(["st*", "3"].map(|target| forget(target, &[])), [1, 1]);
        assert_eq!(forget("2", &[who(2, "vault", "")]), 1);
        assert!(kept.guests.is_empty());
    }
}
