//! The screen from hand-made statuses: drawings, and the requests of keys.

use std::time::Duration;

use ::control::{Card, Direction, Guest, Request, Run, Status, Stream, Worker};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEventKind};
use ratatui::style::Color;

use super::connection::Report;
use super::keys::{self, Action};
use super::model::{Message, Model};
use super::view::{Palette, View};

fn playback() -> Stream {
    Stream {
        direction: Some(Direction::Playback),
        label: "Main".into(),
        permitted: true,
        run: Run::Running,
        device: "alsa:default".into(),
        format: Some("s16_le".into()),
        rate_hz: 48_000,
        channels: 2,
        period_frames: 480,
        buffer_frames: 9600,
        latency_us: Some(21_340),
        frames: 1_234_567,
        requests: 2573,
        notifications_in: 2571,
        notifications_out: 2570,
        levels_db: vec![Some(-12.25), Some(-30.5)],
        ..Stream::default()
    }
}

fn denied_capture() -> Stream {
    Stream {
        stream: 1,
        direction: Some(Direction::Capture),
        label: "Main".into(),
        device: "alsa:default".into(),
        ..Stream::default()
    }
}

fn guest(domain: u16, name: Option<&str>, streams: Vec<Stream>) -> Guest {
    let card = Card { protocol: "v2".into(), state: "Connected".into(), connections: 1, streams, ..Card::default() };
    Guest { domain, name: name.map(str::to_owned), cards: vec![card], ..Guest::default() }
}

fn status(guests: Vec<Guest>) -> Status {
    Status { version: "0.1.0".into(), pid: 4711, uptime_ms: 7_980_000, cpu_ms: 271_320, guests, ..Status::default() }
}

/// Three guests: a usual one, one with everything that is long or went wrong, one whose driver is not there yet.
fn three_guests() -> Status {
    let surround = Stream {
        channels: 8,
        format: Some("float64_le".into()),
        label: "Wohnzimmer 漢字".into(),
        device: "pulse:alsa_output.pci-0000_00_1f.3.analog-stereo@unix:/run/user/1000/pulse/native".into(),
        xruns: 17,
        muted: true,
        levels_db: vec![Some(0.0), Some(-1.0), Some(-6.0), Some(-18.0), Some(-42.0), Some(-70.0), None, Some(-59.0)],
        ..playback()
    };
    let lost = Stream { pcm: 1, device_lost: true, label: "\x1b[31mred".into(), levels_db: Vec::new(), ..playback() };
    let mono = Stream { pcm: 2, stream: 1, channels: 1, levels_db: vec![Some(-20.0)], ..playback() };
    let mut bad = guest(7, Some("a-guest-with-a-very-long-name"), vec![surround, lost, mono]);
    bad.cards[0].violations = 3;
    let mut absent = guest(9, None, Vec::new());
    absent.cards[0].state = "InitWait".into();
    let usual = Stream {
        volume_db: -6.0,
        volume_max_db: Some(6.0),
        guest_volume_db: vec![-3.0, -3.0],
        guest_muted: vec![false, true],
        ..playback()
    };
    status(vec![guest(5, Some("studio"), vec![usual, denied_capture()]), bad, absent])
}

fn many_streams() -> Status {
    status((1..=40).map(|domain| guest(domain, Some(&format!("guest-{domain}")), vec![playback()])).collect())
}

/// A model that has seen the status now and, with less in each counter, a second ago.
fn shown(now: Status) -> Model {
    let mut before = now.clone();
    before.uptime_ms -= 1000;
    before.cpu_ms -= 34;
    for stream in before.guests.iter_mut().flat_map(|guest| &mut guest.cards).flat_map(|card| &mut card.streams) {
        stream.notifications_in = stream.notifications_in.saturating_sub(101);
        stream.notifications_out = stream.notifications_out.saturating_sub(100);
    }
    let mut model = Model::new();
    model.take(Report::Status(Box::new(before)), Duration::ZERO);
    model.take(Report::Status(Box::new(now)), Duration::from_secs(1));
    model
}

fn press(model: &mut Model, code: KeyCode) -> Action {
    keys::press(model, KeyEvent::from(code))
}

fn drawn(model: &Model, columns: u16, lines: u16) -> TestBackend {
    let mut terminal = Terminal::new(TestBackend::new(columns, lines)).unwrap();
    let mut view = View::new(Palette::without_colours());
    terminal.draw(|frame| view.draw(frame, model)).unwrap();
    terminal.backend().clone()
}

fn text(model: &Model, columns: u16, lines: u16) -> String {
    drawn(model, columns, lines).to_string()
}

#[test]
fn the_screen_at_80_by_24() {
    insta::assert_snapshot!(drawn(&shown(three_guests()), 80, 24));
}

#[test]
fn the_screen_at_200_by_50() {
    insta::assert_snapshot!(drawn(&shown(three_guests()), 200, 50));
}

#[test]
fn a_tiny_screen() {
    insta::assert_snapshot!(drawn(&shown(three_guests()), 20, 5));
}

#[test]
fn a_screen_of_40_by_12() {
    insta::assert_snapshot!(drawn(&shown(three_guests()), 40, 12));
}

#[test]
fn nothing_is_served() {
    insta::assert_snapshot!(drawn(&shown(status(Vec::new())), 80, 10));
}

#[test]
fn the_help_lies_over_the_screen() {
    let mut model = shown(three_guests());
    press(&mut model, KeyCode::Char('?'));
    insta::assert_snapshot!(drawn(&model, 80, 24));
    press(&mut model, KeyCode::Esc);
    assert!(!model.help);
}

#[test]
fn a_daemon_that_is_gone_is_told_and_that_it_is_back() {
    let mut model = shown(three_guests());
    model.take(Report::Gone("the daemon at /run/vsnd/control.sock: it closed the connection".into()), Duration::ZERO);
    insta::assert_snapshot!(drawn(&model, 80, 16));
    assert_eq!(press(&mut model, KeyCode::Char('m')), Action::Nothing);
    assert!(text(&model, 80, 24).contains("nothing was changed: the daemon does not answer"));
    model.take(Report::Status(Box::new(three_guests())), Duration::ZERO);
    assert!(text(&model, 80, 24).contains("the daemon is back"));
}

#[test]
fn a_list_longer_than_the_screen_scrolls_with_the_selection() {
    let mut model = shown(many_streams());
    for _ in 0..20 {
        press(&mut model, KeyCode::Char('j'));
    }
    insta::assert_snapshot!(drawn(&model, 80, 24));
    press(&mut model, KeyCode::End);
    let end = text(&model, 80, 24);
    assert!(end.contains("▶ guest-40/0/0/0") && !end.contains("below"), "{end}");
    press(&mut model, KeyCode::Home);
    press(&mut model, KeyCode::PageDown);
    assert!(text(&model, 80, 24).contains("▶ guest-11/0/0/0"));
}

#[test]
fn every_size_is_drawn() {
    let mut many_channels = playback();
    many_channels.channels = 255;
    many_channels.levels_db = vec![Some(-3.0); 255];
    let statuses = [three_guests(), many_streams(), status(vec![guest(1, None, vec![many_channels])])];
    for status in statuses {
        let mut model = shown(status);
        press(&mut model, KeyCode::Down);
        for help in [false, true] {
            model.help = help;
            for (columns, lines) in [(1, 1), (2, 3), (5, 2), (20, 5), (33, 7), (61, 9), (79, 16), (81, 300), (500, 4)] {
                drawn(&model, columns, lines);
            }
        }
    }
}

#[test]
fn a_guest_without_a_worker_is_shown_with_its_state() {
    let mut status = three_guests();
    status.guests[0].cards.clear();
    for (worker, words) in
        [(Worker::Restarting, "guest studio: restarting,"), (Worker::Starting, "guest studio: starting,")]
    {
        status.guests[0].worker = worker;
        let mut model = shown(status.clone());
        press(&mut model, KeyCode::Char('i'));
        assert!(text(&model, 80, 24).contains(words), "{}", text(&model, 80, 24));
        "/a-guest".chars().for_each(|key| drop(press(&mut model, KeyCode::Char(key))));
        assert!(!text(&model, 80, 24).contains("studio"), "{}", text(&model, 80, 24));
    }
}

#[test]
fn a_resized_screen_is_drawn_again() {
    let model = shown(many_streams());
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    let mut view = View::new(Palette::without_colours());
    for (columns, lines) in [(80, 24), (20, 5), (200, 50), (80, 24)] {
        terminal.backend_mut().resize(columns, lines);
        terminal.draw(|frame| view.draw(frame, &model)).unwrap();
    }
    assert_eq!(terminal.backend().to_string(), text(&model, 80, 24));
}

#[test]
fn colours_are_only_used_where_they_are_wanted() {
    let mut model = shown(three_guests());
    model.take(Report::Answer(Ok("done".into())), Duration::from_secs(1));
    let coloured = |palette| {
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        terminal.draw(|frame| View::new(palette).draw(frame, &model)).unwrap();
        let cells = terminal.backend().buffer().content.clone();
        cells.into_iter().filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset).count()
    };
    assert!(coloured(Palette::with_colours()) > 0);
    assert_eq!(coloured(Palette::without_colours()), 0);
}

#[test]
fn keys_ask_for_what_they_say() {
    let target = || "studio/0/0/0".parse().unwrap();
    let mut model = shown(three_guests());
    let mute = |on| Action::Ask(Request::Mute { target: target(), on });
    let volume = |volume_db| Action::Ask(Request::Volume { target: target(), volume_db });
    assert_eq!(press(&mut model, KeyCode::Char('m')), mute(true));
    assert_eq!(press(&mut model, KeyCode::Char('m')), mute(false), "the next key goes on from what was asked for");
    assert_eq!(press(&mut model, KeyCode::Char('+')), volume(-5.0));
    assert_eq!(press(&mut model, KeyCode::Char('=')), volume(-4.0));
    assert_eq!(press(&mut model, KeyCode::Char('-')), volume(-5.0));

    assert_eq!(press(&mut model, KeyCode::Char('a')), Action::Nothing);
    assert_eq!(
        model.message,
        Message::Failed("studio/0/0/0 is for playback: only capture is allowed or denied".into())
    );
    press(&mut model, KeyCode::Down);
    let capture = |allow| Action::Ask(Request::Capture { target: "studio/0/0/1".parse().unwrap(), allow, for_s: None });
    assert_eq!(press(&mut model, KeyCode::Char('a')), capture(true));
    assert_eq!(press(&mut model, KeyCode::Char('a')), capture(false));
}

#[test]
fn a_card_is_disconnected_by_the_same_key_twice() {
    let mut model = shown(three_guests());
    assert_eq!(press(&mut model, KeyCode::Char('D')), Action::Nothing);
    assert!(text(&model, 80, 24).contains("D again disconnects card studio/0, and what plays there stops"));
    let asked = Action::Ask(Request::Disconnect { target: "studio/0".parse().unwrap() });
    assert_eq!(press(&mut model, KeyCode::Char('D')), asked);
    // Another key or another card means no.
    press(&mut model, KeyCode::Char('D'));
    press(&mut model, KeyCode::Char('x'));
    assert_eq!(
        (press(&mut model, KeyCode::Char('D')), &model.message),
        (Action::Nothing, &Message::Sure("studio/0".parse().unwrap()))
    );
    press(&mut model, KeyCode::End);
    assert_eq!(press(&mut model, KeyCode::Char('D')), Action::Nothing);
}

#[test]
fn the_volume_ends_where_the_daemons_does() {
    for (key, from, to, end) in [('+', 19.5, 20.0, "loudest"), ('-', -99.5, -100.0, "quietest")] {
        let mut model = shown(status(vec![guest(1, None, vec![Stream { volume_db: from, ..playback() }])]));
        let request = Request::Volume { target: "1/0/0/0".parse().unwrap(), volume_db: to };
        assert_eq!(press(&mut model, KeyCode::Char(key)), Action::Ask(request));
        assert_eq!(press(&mut model, KeyCode::Char(key)), Action::Nothing);
        assert!(matches!(&model.message, Message::Failed(why) if why.contains(end)), "{:?}", model.message);
    }
}

#[test]
fn keys_without_a_stream_change_nothing() {
    let mut model = shown(status(Vec::new()));
    for key in ['m', 'a', 'D', 'D', '+', '-', 'j', 'k', 'g', 'G', 'x'] {
        assert_eq!(press(&mut model, KeyCode::Char(key)), Action::Nothing, "{key}");
    }
}

#[test]
fn three_keys_end_the_screen() {
    for key in [
        KeyEvent::from(KeyCode::Char('q')),
        KeyEvent::from(KeyCode::Esc),
        KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL),
    ] {
        assert_eq!(keys::press(&mut shown(three_guests()), key), Action::Quit, "{key:?}");
    }
}

#[test]
fn a_status_from_before_a_request_does_not_undo_it() {
    let mut model = shown(three_guests());
    press(&mut model, KeyCode::Char('+'));
    model.take(Report::Status(Box::new(three_guests())), Duration::from_secs(2));
    assert_eq!(model.selected().unwrap().stream.volume_db, -5.0);
    model.take(Report::Answer(Err("no such stream".into())), Duration::from_secs(2));
    assert_eq!(model.message, Message::Failed("no such stream".into()));
    model.take(Report::Status(Box::new(three_guests())), Duration::from_secs(2));
    assert_eq!(model.selected().unwrap().stream.volume_db, -6.0);
}

#[test]
fn the_selection_stays_with_its_stream() {
    let mut model = shown(three_guests());
    (0..3).for_each(|_| drop(press(&mut model, KeyCode::Down)));
    let target = |model: &Model| model.selected().map(|row| row.target.to_string());
    let selected = target(&model);
    let mut fewer = three_guests();
    fewer.guests.remove(0);
    model.take(Report::Status(Box::new(fewer)), Duration::from_secs(2));
    assert_eq!(target(&model), selected);
    model.take(
        Report::Status(Box::new(status(vec![guest(5, Some("studio"), vec![playback()])]))),
        Duration::from_secs(3),
    );
    assert_eq!(target(&model), None, "it is gone, and another one is not what the user selected");
}

#[test]
fn a_key_acts_on_nothing_once_the_selected_stream_is_gone() {
    let shows =
        |model: &mut Model, status: Status| model.take(Report::Status(Box::new(status)), Duration::from_secs(2));
    let without = |domain: u16| {
        let mut status = many_streams();
        status.guests.retain(|guest| guest.domain != domain);
        status
    };
    let hide_idle = |model: &mut Model| {
        let mut status = many_streams();
        status.guests[1].cards[0].streams[0].run = Run::Closed;
        shows(model, status);
        press(model, KeyCode::Char('i'));
    };
    let filter = |model: &mut Model| {
        "/t-3\n"
            .chars()
            .for_each(|key| drop(press(model, if key == '\n' { KeyCode::Enter } else { KeyCode::Char(key) })))
    };
    let disconnected = |model: &mut Model| {
        (0..2).for_each(|_| drop(press(model, KeyCode::Char('D'))));
        model.take(Report::Answer(Ok("disconnected".into())), Duration::from_secs(2));
        shows(model, without(2));
    };
    let no_stream_at_all = |model: &mut Model| {
        shows(model, status(Vec::new()));
        shows(model, without(2));
    };
    type Way<'a> = (&'static str, &'a dyn Fn(&mut Model));
    let ways: [Way<'_>; 5] = [
        ("the guest is gone", &|model| shows(model, without(2))),
        ("the card was disconnected", &disconnected),
        ("idle ones are hidden", &hide_idle),
        ("a filter is set", &filter),
        ("all were gone", &no_stream_at_all),
    ];
    for (way, go_away) in ways {
        let mut model = shown(many_streams());
        press(&mut model, KeyCode::Down);
        assert_eq!(model.selected().unwrap().target.to_string(), "guest-2/0/0/0");
        go_away(&mut model);
        for key in ['m', '+', '-', 'a', 'D', 'D'] {
            assert_eq!(press(&mut model, KeyCode::Char(key)), Action::Nothing, "{way}: {key}");
            assert!(matches!(&model.message, Message::Failed(why) if why.contains("no stream is selected")), "{way}");
        }
        assert!(!text(&model, 80, 24).contains('▶'), "{way}");
        // A stream that is back is the one that was selected.
        let mut again = model;
        press(&mut again, KeyCode::Esc);
        again.arrangement.hides_idle = false;
        shows(&mut again, many_streams());
        let mute = |target: &str| Action::Ask(Request::Mute { target: target.parse().unwrap(), on: true });
        assert_eq!(press(&mut again, KeyCode::Char('m')), mute("guest-2/0/0/0"), "{way}");
    }
}

#[test]
fn a_selection_goes_on_from_where_the_stream_was() {
    for (key, selected) in [
        (KeyCode::Down, "guest-3"),
        (KeyCode::Up, "guest-1"),
        (KeyCode::PageDown, "guest-12"),
        (KeyCode::Home, "guest-1"),
        (KeyCode::End, "guest-40"),
    ] {
        let mut model = shown(many_streams());
        press(&mut model, KeyCode::Down);
        let mut fewer = many_streams();
        fewer.guests.remove(1);
        model.take(Report::Status(Box::new(fewer)), Duration::from_secs(2));
        press(&mut model, key);
        assert_eq!(model.selected().unwrap().target.domain, selected, "{key:?}");
    }
}

#[test]
fn a_list_stays_where_it_is_when_the_selected_stream_goes_away() {
    let mut model = shown(many_streams());
    press(&mut model, KeyCode::End);
    let mut view = View::new(Palette::without_colours());
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    terminal.draw(|frame| view.draw(frame, &model)).unwrap();
    let mut fewer = many_streams();
    fewer.guests.pop();
    model.take(Report::Status(Box::new(fewer)), Duration::from_secs(2));
    terminal.draw(|frame| view.draw(frame, &model)).unwrap();
    assert!(terminal.backend().to_string().contains("guest-39"), "{}", terminal.backend());
}

#[test]
fn a_stream_that_appears_on_an_empty_screen_is_not_selected_by_itself() {
    let mut model = shown(status(Vec::new()));
    model.take(Report::Status(Box::new(three_guests())), Duration::from_secs(2));
    assert_eq!(press(&mut model, KeyCode::Char('m')), Action::Nothing);
    press(&mut model, KeyCode::Down);
    assert_eq!(model.selected().unwrap().target.to_string(), "studio/0/0/0");
}

/// Targets of the listed streams.
fn listed(model: &Model) -> Vec<String> {
    model.rows.iter().map(|row| row.target.to_string()).collect()
}

#[test]
fn streams_are_ordered_grouped_hidden_and_filtered() {
    let stream = |xruns, latency_us, run| Stream { xruns, latency_us, run, ..playback() };
    let one = vec![stream(1, Some(5), Run::Running), Stream { stream: 1, ..stream(9, None, Run::Closed) }];
    let two = vec![Stream { device: "pulse:hdmi".into(), ..stream(5, Some(50), Run::Running) }];
    let mut model = shown(status(vec![guest(1, Some("a"), one), guest(2, Some("b"), two)]));
    let all = ["a/0/0/0", "a/0/0/1", "b/0/0/0"];
    assert_eq!(listed(&model), all);
    let mut orders = Vec::new();
    for _ in 0..3 {
        press(&mut model, KeyCode::Char('s'));
        orders.push(listed(&model).concat());
    }
    let expected =
        [["a/0/0/0", "b/0/0/0", "a/0/0/1"], ["b/0/0/0", "a/0/0/0", "a/0/0/1"], ["a/0/0/1", "b/0/0/0", "a/0/0/0"]];
    assert_eq!(orders, expected.map(|order| order.concat()), "by state, latency, xruns");
    press(&mut model, KeyCode::Char('t'));
    assert_eq!(listed(&model), ["a/0/0/1", "a/0/0/0", "b/0/0/0"], "guests together");
    assert!(text(&model, 80, 24).contains(" by xruns, grouped "));
    (0..2).for_each(|_| drop(press(&mut model, KeyCode::Char('s'))));
    assert_eq!(listed(&model), all, "all orders were there");
    press(&mut model, KeyCode::Char('i'));
    assert_eq!(listed(&model), ["a/0/0/0", "b/0/0/0"]);
    for key in "/HDMIq".chars() {
        assert_eq!(press(&mut model, KeyCode::Char(key)), Action::Nothing);
    }
    assert!(listed(&model).is_empty() && text(&model, 80, 24).contains("No stream is like that."));
    press(&mut model, KeyCode::Backspace);
    assert_eq!(listed(&model), ["b/0/0/0"], "by its device");
    assert!(text(&model, 80, 24).contains("/HDMI_ "));
    press(&mut model, KeyCode::Enter);
    press(&mut model, KeyCode::Down);
    let mute = Action::Ask(Request::Mute { target: "b/0/0/0".parse().unwrap(), on: true });
    assert_eq!(press(&mut model, KeyCode::Char('m')), mute, "keys are keys again");
    assert_eq!(press(&mut model, KeyCode::Esc), Action::Nothing);
    assert_eq!(listed(&model).len(), 2, "the filter is gone");
    assert_eq!(press(&mut model, KeyCode::Esc), Action::Quit);
}

#[test]
fn the_mouse_selects_what_is_under_it() {
    let mut model = shown(three_guests());
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    let mut view = View::new(Palette::without_colours());
    terminal.draw(|frame| view.draw(frame, &model)).unwrap();
    let target = |model: &Model| model.selected().map(|row| row.target.to_string());
    assert_eq!((view.row_at(0), view.row_at(1), view.row_at(2), view.row_at(3)), (None, None, Some(0), Some(0)));
    let second = (2..24).find(|y| view.row_at(*y) == Some(1)).unwrap();
    keys::point(&mut model, MouseEventKind::Down(MouseButton::Left), view.row_at(second));
    assert_eq!(target(&model), Some(model.rows[1].target.to_string()));
    keys::point(&mut model, MouseEventKind::ScrollUp, None);
    assert_eq!(target(&model), Some(model.rows[0].target.to_string()));
    keys::point(&mut model, MouseEventKind::Down(MouseButton::Left), None);
    assert_eq!(target(&model), Some(model.rows[0].target.to_string()));
}

#[test]
fn without_utf8_all_of_the_screen_is_ascii() {
    let mut model = shown(three_guests());
    press(&mut model, KeyCode::Char('?'));
    for model in [model, shown(three_guests())] {
        let mut terminal = Terminal::new(TestBackend::new(120, 30)).unwrap();
        let mut view = View::new(Palette::without_colours()).in_ascii(true);
        terminal.draw(|frame| view.draw(frame, &model)).unwrap();
        let cells = &terminal.backend().buffer().content;
        assert!(cells.iter().all(|cell| cell.symbol().is_ascii()), "{}", terminal.backend());
        assert!(cells.iter().any(|cell| cell.symbol() == "#"), "a meter");
    }
}

#[test]
fn rates_are_those_of_the_last_second_and_restart_with_another_daemon() {
    let at = |pid, uptime_ms, count| {
        let stream = Stream { notifications_in: count, notifications_out: 2 * count, ..playback() };
        let cpu_ms = count / 10;
        Report::Status(Box::new(Status { pid, uptime_ms, cpu_ms, ..status(vec![guest(1, None, vec![stream])]) }))
    };
    let mut model = Model::new();
    let incoming = |model: &Model| model.rows[0].notifications.map(|rate| rate.incoming);
    model.take(at(1, 1000, 0), Duration::ZERO);
    assert_eq!((incoming(&model), model.rates.cpu_percent()), (None, None));
    model.take(at(1, 1500, 500), Duration::ZERO);
    assert_eq!((incoming(&model), model.rates.cpu_percent()), (Some(1000.0), Some(10.0)));
    model.take(at(1, 2500, 600), Duration::ZERO);
    assert_eq!((incoming(&model), model.rates.cpu_percent()), (Some(100.0), Some(1.0)));
    model.take(at(1, 2600, 10), Duration::ZERO);
    assert_eq!(incoming(&model), None, "the card was connected again");
    model.take(at(2, 2700, 20), Duration::ZERO);
    assert_eq!((incoming(&model), model.rates.cpu_percent()), (None, None));
}
