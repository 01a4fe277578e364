//! The corpus: inputs that reach deep into each target, made with the project's own code.

use sndif::store::{LimitNodes, Limits};
use sndif::v2::{Event, HwParams, OpenParams, Operation, Request, Response, Span, Trigger, opcode};
use sndif::{Errno, Format, GrantRef};

use crate::{programs, v0};

/// Seeds of a target: name and contents of each file.
pub type Seeds = Vec<(String, Vec<u8>)>;

/// The seeds of the target with this name; empty for an unknown name.
#[must_use]
pub fn of(target: &str) -> Seeds {
    match target {
        "backend_program" => programs::seeds::backend(),
        "frontend_program" => programs::seeds::frontend(),
        "packets" => packets(),
        "backend_stream" => backend_stream(),
        "frontend_stream" => frontend_stream(),
        "v0_packets" => v0::packet_seeds(),
        "v0_backend_stream" => v0::backend_seeds(),
        "v0_frontend_stream" => v0::frontend_seeds(),
        "store_messages" => store_messages(),
        "store_nodes" => store_nodes(),
        "store_server" => store_server(),
        "store_client" => store_client(),
        "config" => config(),
        "xl_cfg" => xl_cfg(),
        "wav" => wav(),
        _ => Vec::new(),
    }
}

pub(crate) fn named(name: &str, bytes: impl Into<Vec<u8>>) -> (String, Vec<u8>) {
    (name.to_owned(), bytes.into())
}

fn open() -> OpenParams {
    OpenParams {
        rate_hz: 48_000,
        format: Format::S16Le,
        channels: 2,
        buffer_bytes: 7680,
        directory: GrantRef(9),
        period_bytes: 1920,
    }
}

fn packets() -> Seeds {
    let span = Span { offset: 1920, length: 1920 };
    let operations = [
        ("open", Operation::Open(open())),
        ("close", Operation::Close),
        ("write", Operation::Write(span)),
        ("trigger", Operation::Trigger(Trigger::Resume)),
        ("query", Operation::QueryHwParams(HwParams::ANY)),
    ];
    let mut seeds: Seeds =
        operations.map(|(name, operation)| named(name, Request { id: 7, operation }.emit())).into_iter().collect();
    let failed = Response { id: 7, opcode: opcode::WRITE, result: Err(Errno::EINVAL), params: None };
    seeds.push(named("response", failed.emit()));
    seeds.push(named("event", Event { id: 7, position_bytes: 1 << 40 }.emit()));
    let mut directory = Request { id: 7, operation: Operation::Close }.emit().to_vec();
    // The first page, 3000 buffer pages, and for each directory page: next, filling, no hole.
    directory.push(1);
    directory.extend(u32::to_le_bytes(3000 * 4096));
    for next in [2, 3, 0] {
        directory.extend([next, 0x55, 0xff, 0xff]);
    }
    seeds.push(named("directory", directory));
    seeds
}

/// A request in the form in which `backend_stream` reads a whole packet.
fn packet(operation: Operation) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend(Request { id: 7, operation }.emit());
    if let Operation::Open(_) = operation {
        bytes.push(0);
    }
    bytes
}

fn pass(milliseconds: u32) -> Vec<u8> {
    let mut bytes = vec![4];
    bytes.extend((milliseconds * 1_000_000).to_le_bytes());
    bytes
}

fn backend_stream() -> Seeds {
    let write = |period: u32| packet(Operation::Write(Span { offset: period % 4 * 1920, length: 1920 }));
    let read = |period: u32| packet(Operation::Read(Span { offset: period % 4 * 1920, length: 1920 }));
    let start = [packet(Operation::Open(open())), packet(Operation::Trigger(Trigger::Start))].concat();
    let stop = packet(Operation::Trigger(Trigger::Stop));
    let look = vec![5, 0];
    let full_page = vec![5, 12];
    let play: Vec<u8> = (0..8).flat_map(|period| [write(period), pass(10), look.clone()].concat()).collect();
    let capture: Vec<u8> = (0..8).flat_map(|period| [pass(10), look.clone(), read(period)].concat()).collect();
    let rewind = [write(0), write(1), write(2), pass(5), look.clone(), write(1), pass(30), look.clone()].concat();
    vec![
        named("play", [vec![0], start.clone(), play.clone(), stop.clone(), look.clone(), start.clone(), play].concat()),
        named("capture", [vec![1], start.clone(), capture, stop.clone(), look.clone()].concat()),
        named("rewind", [vec![0], start.clone(), rewind].concat()),
        named(
            "full-page",
            [vec![0], start.clone(), write(0), write(1), pass(25), full_page, stop, look.clone()].concat(),
        ),
        named("device-fails", [vec![2], start, write(0), look.clone(), vec![7], pass(20), look].concat()),
    ]
}

fn frontend_stream() -> Seeds {
    let (answer, take, events) = ([2, 0], [6], [7]);
    let event = |position: u32| [&[3][..], &position.to_le_bytes()].concat();
    let open = [5, 0, 239];
    let start = [5, 3];
    let transfer = [5, 6, 0x80, 0x07, 0];
    let play = [&[0][..], &open, &answer, &take, &transfer, &answer, &take, &start, &answer, &take];
    let play = [play.concat(), event(964), events.to_vec(), transfer.to_vec(), event(900), events.to_vec()].concat();
    let wrong_index = [&[0][..], &open, &[0, 2, 9, 0, 0, 0], &take, &take].concat();
    let wrong_events = [&[1][..], &open, &answer, &take, &[1, 1, 0xff, 0, 0, 0], &events, &events].concat();
    vec![named("play", play), named("wrong-index", wrong_index), named("wrong-events", wrong_events)]
}

/// A store message: type, request id, transaction, payload.
fn message(kind: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload");
    [kind, 0, 0, length].into_iter().flat_map(u32::to_le_bytes).chain(payload.iter().copied()).collect()
}

fn store_messages() -> Seeds {
    vec![
        named("read", message(2, b"/local/domain/1/device/vsnd/0/state\0")),
        named("watch", message(4, b"backend/vsnd\0token\0")),
        named("error", message(16, b"ENOENT\0")),
        named("permissions", message(14, b"/a\0n1\0r0\0b7\0")),
        named("too-long", message(11, b"")[..12].iter().copied().chain([0xff, 0xff, 0, 0]).collect::<Vec<_>>()),
    ]
}

/// Commands in the form that the server's target reads: domain, operation, transaction, payload.
fn commands(list: &[(u8, u8, u8, &[u8])]) -> Vec<u8> {
    list.iter()
        .flat_map(|&(who, what, transaction, payload)| {
            [&[who, what, transaction, payload.len() as u8][..], payload].concat()
        })
        .collect()
}

fn store_server() -> Seeds {
    let home = b"/local/domain/1/data/a\0".as_slice();
    vec![
        named(
            "nodes",
            commands(&[(1, 11, 0, b"data/a\0x"), (1, 2, 0, b"data/a\0"), (2, 2, 0, home), (1, 13, 0, home)]),
        ),
        named(
            "watch",
            commands(&[(1, 4, 0, b"data\0t\0"), (1, 11, 0, b"data/a\0x"), (0, 12, 0, home), (1, 5, 0, b"data\0t\0")]),
        ),
        named(
            "transaction",
            commands(&[(1, 6, 0, b"\0"), (1, 11, 1, b"data/a\0x"), (1, 11, 0, b"data/a\0y"), (1, 7, 1, b"T\0")]),
        ),
        named("permissions", commands(&[(1, 11, 0, b"data/a\0x"), (1, 14, 0, b"data/a\0n1\0r2\0"), (2, 2, 0, home)])),
        named("silent-reader", commands(&[(0x81, 4, 0, b"@introduceDomain\0t\0"), (0x81, 11, 0, b"data/a\0x")])),
    ]
}

fn store_client() -> Seeds {
    let answers = [message(4, b"OK\0"), message(15, b"/a\0t\0"), message(4, b"OK\0"), message(2, b"value")].concat();
    vec![
        named("answers", answers),
        named("errors", [message(16, b"EACCES\0"), message(16, b"ENOENT\0"), message(16, b"what?\0")].concat()),
        named("cut", message(2, b"value")[..18].to_vec()),
    ]
}

fn node_values(levels: &[[Option<&str>; 5]]) -> Vec<u8> {
    levels
        .iter()
        .flatten()
        .flat_map(|value| match value {
            None => vec![u8::MAX],
            Some(text) => [&[text.len() as u8], text.as_bytes()].concat(),
        })
        .collect()
}

fn store_nodes() -> Seeds {
    let level = [Some("1"), Some("8"), Some("8000,44100,48000"), Some("s16_le,float_le,f64_be"), Some("65536")];
    // Check that the seed is useful: its values are legal.
    let [channels_min, channels_max, sample_rates, sample_formats, buffer_size] =
        level.map(|value| value.map(str::as_bytes));
    let nodes = LimitNodes { channels_min, channels_max, sample_rates, sample_formats, buffer_size };
    assert!(Limits::DEFAULT.narrowed_by(&nodes).is_ok());
    vec![
        named("inherited", node_values(&[level, [None; 5], [Some("2"), None, Some("48000"), Some("s16_le"), None]])),
        named("empty", node_values(&[[Some(""); 5]])),
        named("nothing-left", node_values(&[level, [None, None, Some("96000"), None, None]])),
    ]
}

fn config() -> Seeds {
    vec![
        named("everything", include_str!("../../docs/vsndd.toml")),
        named("unknown-key", "sink = \"null\"\nsnik = 1\n"),
        named("out-of-range", "[limits]\nbuffer-bytes-max = 1\n"),
        named("bad-device", "sink = \"als:x\"\n"),
        named("domains", "[[rule]]\ndomain = 99999\n[[rule]]\ndomain = \"6c1f1d3e-0d5b-4f5b-9d0e-0f6d8a1b2c3d\"\n"),
    ]
}

fn xl_cfg() -> Seeds {
    vec![
        named(
            "manual-page",
            "vsnd = [\n ['CARD, short-name=Main, sample-formats=s16_le;s8;u32_be', # the first\n  'PCM, name=Main',\n  \
             'STREAM, unique-id=0, type=p', 'STREAM, unique-id=1, type=c, channels-max=2'],\n [\"CARD\", \"pcm, \
             buffer-size=1024\", \"stream, type=P\"]]\n",
        ),
        named("no-pcm", "[['STREAM, type=p, unique-id=alsa<hw:0;0>']]"),
        named("no-quote", "vsnd = [['PCM]]"),
        named("no-bracket", "vsnd = [['PCM']"),
    ]
}

/// A WAV file: format tag, channels, bits, samples.
fn wav_file(tag: u16, channels: u16, bits: u16, samples: &[u8]) -> Vec<u8> {
    let frame = channels * bits / 8;
    let length = u32::try_from(samples.len()).expect("a short file");
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + length).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0");
    for field in [tag, channels] {
        bytes.extend(field.to_le_bytes());
    }
    for field in [48_000, 48_000 * u32::from(frame)] {
        bytes.extend(field.to_le_bytes());
    }
    for field in [frame, bits] {
        bytes.extend(field.to_le_bytes());
    }
    bytes.extend(b"data");
    bytes.extend(length.to_le_bytes());
    bytes.extend(samples);
    bytes
}

fn wav() -> Seeds {
    let samples: Vec<u8> = (0..48).collect();
    let with_list = {
        let mut bytes = wav_file(1, 1, 8, &samples);
        bytes.splice(12..12, *b"LIST\x03\0\0\0abc\0");
        bytes
    };
    vec![
        named("s16", wav_file(1, 2, 16, &samples)),
        named("s24", wav_file(1, 2, 24, &samples)),
        named("f32", wav_file(3, 1, 32, &samples)),
        named("mu-law", wav_file(7, 1, 8, &samples)),
        named("list-chunk", with_list),
        named("cut", wav_file(1, 2, 16, &samples)[..60].to_vec()),
    ]
}
