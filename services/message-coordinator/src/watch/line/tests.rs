use proptest::prelude::*;

use super::*;

const V20: Version = Version { major: 2, minor: 0, patch: 21 };
const V21: Version = Version { major: 2, minor: 1, patch: 2 };

fn line(level: Level, text: &str, version: Version) -> Option<Line> {
    parse(level, text.as_bytes(), Some(version))
}

fn notice(text: &str) -> Option<Line> {
    line(Level::Notice, text, V20)
}

fn connected(client_id: &str, login: &str, address: &str) -> Option<Line> {
    let login = Some(login.to_owned());
    Some(Line::Connected { client_id: client_id.into(), login, address: address.into() })
}

fn ended(client_id: &str) -> Option<Line> {
    Some(Line::Ended { client_id: Some(client_id.into()), address: None })
}

/// As Mosquitto 2.0.21 and 2.0.11 wrote them, with both forms of time.
#[test]
fn lines_of_a_2_0_broker_are_read() {
    assert_eq!(
        notice("2026-11-25T02:48:42: New connection from 127.0.0.1:45750 on port 28831."),
        Some(Line::Opened { address: "127.0.0.1:45750".into() })
    );
    assert_eq!(
        notice(
            "2026-11-25T02:48:41: New client connected from 127.0.0.1:45746 as c-a (p2, c1, k60, u'plugin.a')."
        ),
        connected("c-a", "plugin.a", "127.0.0.1:45746")
    );
    assert_eq!(
        notice("1790000000: New client connected from ::1:5 as auto-189E5591 (p5, c0, k0)."),
        Some(Line::Connected { client_id: "auto-189E5591".into(), login: None, address: "::1:5".into() })
    );
    assert_eq!(
        line(Level::Error, "2026-11-25T02:48:42: Client c-a already connected, closing old connection.", V20),
        Some(Line::TakenOver { client_id: "c-a".into(), address: None })
    );
    for text in [
        "2026-11-25T02:48:42: Client c-a disconnected.",
        "2026-11-25T02:48:42: Client c-a closed its connection.",
        "2026-11-25T02:48:49: Client c-a has exceeded timeout, disconnecting.",
        "2026-11-25T02:48:51: Client c-a disconnected due to oversize packet.",
        "2026-11-25T02:48:47: Client c-a disconnected due to protocol error.",
        "2026-11-25T02:54:14: Client c-a been disconnected by administrative action.",
        "2026-11-25T02:54:14: Client c-a disconnected: Connection reset by peer.",
        "2026-11-25T02:54:14: Bad socket read/write on client c-a: The connection was lost.",
        "Client c-a disconnected.",
    ] {
        assert_eq!(notice(text), ended("c-a"), "{text}");
    }
    assert_eq!(
        notice("2026-11-25T02:48:43: Client c-bad5 disconnected, not authorised."),
        Some(Line::Refused { client_id: Some("c-bad5".into()), address: None })
    );
    assert_eq!(
        notice("2026-11-25T02:54:03: Client <unknown> disconnected, not authorised."),
        Some(Line::Refused { client_id: None, address: None })
    );
    assert_eq!(
        notice("2026-11-25T02:48:54: Client <unknown> closed its connection."),
        Some(Line::Ended { client_id: None, address: None })
    );
    assert_eq!(
        notice("1790000000: Outgoing messages are being dropped for client c-a."),
        Some(Line::Dropping { client_id: "c-a".into() })
    );
}

/// As the sources of Mosquitto 2.1.2 write them.
#[test]
fn lines_of_a_2_1_broker_are_read() {
    let notice = |text: &str| line(Level::Notice, text, V21);
    let at = |address: &str| Some(address.to_owned());
    assert_eq!(
        notice("1790000000: New client connected from 10.0.0.2:4000 as c-a (p5, c1, k60, u'plugin.a')."),
        connected("c-a", "plugin.a", "10.0.0.2:4000")
    );
    assert_eq!(
        notice("1790000000: Client c-a [10.0.0.2:4000] disconnected: session taken over."),
        Some(Line::TakenOver { client_id: "c-a".into(), address: at("10.0.0.2:4000") })
    );
    for reason in [
        ".",
        ": connection closed by client.",
        ": administrative action.",
        ": used disallowed feature (QoS too high, retain not supported, or bad AUTH method).",
        ": bad socket read/write: The connection was lost.",
    ] {
        assert_eq!(
            notice(&format!("1790000000: Client c-a [10.0.0.2:4000] disconnected{reason}")),
            Some(Line::Ended { client_id: Some("c-a".into()), address: at("10.0.0.2:4000") }),
            "{reason}"
        );
    }
    assert_eq!(
        notice("1790000000: Client c-a [fd00::2:4000] disconnected: not authorised."),
        Some(Line::Refused { client_id: Some("c-a".into()), address: at("fd00::2:4000") })
    );
}

/// As Mosquitto 2.0.21 wrote them when clients chose these ids.
#[test]
fn an_id_that_looks_like_the_end_of_a_line_is_only_an_id() {
    let address = "127.0.0.1:45834";
    for id in [
        "v (p2, c1, k60, u'other')",
        "v (p2, c1, k60, u'other').",
        "x as y as plugin.z",
        "victim already connected, closing old connection.",
        "c-own disconnected",
        "späß ☃ 😀",
        "",
        "9: New client connected from 1.2.3.4:5 as v (p2, c1, k60, u'other').",
    ] {
        assert_eq!(
            notice(&format!(
                "2026-11-25T02:48:43: New client connected from {address} as {id} (p2, c1, k60, u'plugin.b')."
            )),
            connected(id, "plugin.b", address)
        );
        assert_eq!(notice(&format!("2026-11-25T02:48:43: Client {id} disconnected.")), ended(id));
        let taken = format!("1: Client {id} already connected, closing old connection.");
        assert_eq!(
            line(Level::Error, &taken, V20),
            Some(Line::TakenOver { client_id: id.into(), address: None })
        );
        let text = format!("1: Client {id} [1.2.3.4:5] disconnected: session taken over.");
        assert_eq!(
            line(Level::Notice, &text, V21),
            Some(Line::TakenOver { client_id: id.into(), address: Some("1.2.3.4:5".into()) })
        );
    }
    let id = "victim [1.2.3.4:5] disconnected: session taken over.";
    assert_eq!(notice(&format!("1: Client {id} disconnected.")), ended(id), "a 2.0 broker tells no address");
    assert_eq!(notice(&format!("1: Client {id} closed its connection.")), ended(id));
    let text = format!("1: Client {id} [9.9.9.9:7] disconnected.");
    assert_eq!(
        line(Level::Notice, &text, V21),
        Some(Line::Ended { client_id: Some(id.into()), address: Some("9.9.9.9:7".into()) })
    );
}

#[test]
fn a_line_that_was_cut_tells_no_login_whatever_its_end_looks_like() {
    let beginning = "2026-11-25T02:48:45: New client connected from 127.0.0.1:45922 as ";
    let forged = " (p2, c1, k60, u'plugin.victim').";
    let filler = "L".repeat(LONGEST - beginning.len() - forged.len());
    let text = format!("{beginning}{filler}{forged}");
    assert_eq!(text.len(), LONGEST);
    let found = notice(&text);
    assert!(
        matches!(&found, Some(Line::Hidden { address, .. }) if address == "127.0.0.1:45922"),
        "{found:?}"
    );
    let beginning = "2026-11-25T02:48:45: Client ";
    let filler = "L".repeat(LONGEST - beginning.len() - " disconnected.".len());
    assert_eq!(notice(&format!("{beginning}{filler} disconnected.")), None);
}

#[test]
fn what_is_said_on_another_level_is_something_else() {
    assert_eq!(notice("1: Client x already connected, closing old connection."), None);
    assert_eq!(line(Level::Error, "1: Client x disconnected.", V20), None);
    for text in [
        "",
        "1: mosquitto version 2.0.21 running",
        "1: Client ",
        "1: New client connected from",
        "1: New client connected from 1.2.3.4 as x (p2, c1, k60, u'a').",
        "1: New client connected from 1.2.3.4:5 as x (p2, c1, k60, u'a'",
        "1: New client connected from 1.2.3.4:99999 as x (p2, c1, k60, u'a').",
        "1: New connection from 1.2.3.4:5 on",
        "1: Client c negotiated TLSv1.3 cipher TLS_AES_256_GCM_SHA384",
        "1: Client connection from 1.2.3.4 denied: max_connections exceeded.",
    ] {
        assert_eq!(notice(text), None, "{text}");
        assert_eq!(line(Level::Notice, text, V21), None, "{text}");
    }
}

fn pieces() -> impl Strategy<Value = String> {
    let pieces = [
        " (p2, c1, k60, u'plugin.victim').",
        " (p2, c1, k60).",
        " disconnected.",
        " disconnected: x.",
        " [1.2.3.4:5] disconnected: session taken over.",
        " already connected, closing old connection.",
        " disconnected, not authorised.",
        "New client connected from 1.2.3.4:5 as ",
        "Client ",
        ": ",
        "plugin.victim",
        "<unknown>",
        "é☃",
    ];
    let piece = prop_oneof![proptest::sample::select(pieces.to_vec()).prop_map(str::to_owned), ".{0,8}"];
    proptest::collection::vec(piece, 0..8).prop_map(|all| all.concat())
}

proptest! {
    #[test]
    fn no_text_can_make_it_panic(text in pieces(), bytes in proptest::collection::vec(any::<u8>(), 0..1200)) {
        for level in [Level::Error, Level::Notice] {
            for version in [None, Some(V20), Some(V21)] {
                parse(level, text.as_bytes(), version);
                parse(level, &bytes, version);
            }
        }
    }

    #[test]
    fn no_id_yields_another_login_or_another_id(id in pieces()) {
        prop_assume!(id.len() < 800);
        let text = format!("1: New client connected from 127.0.0.1:5 as {id} (p5, c1, k60, u'plugin.b').");
        prop_assert_eq!(notice(&text), connected(&id, "plugin.b", "127.0.0.1:5"));
        let text = format!("1: Client {id} disconnected.");
        if id != UNKNOWN {
            prop_assert_eq!(notice(&text), ended(&id));
        }
        let text = format!("1: Client {id} [9.9.9.9:9] disconnected.");
        let address = Some("9.9.9.9:9".to_owned());
        let id_known = known(&id);
        prop_assert_eq!(line(Level::Notice, &text, V21), Some(Line::Ended { client_id: id_known, address }));
    }

    /// However a line is cut, nobody's login is told but the true one.
    #[test]
    fn no_long_id_yields_another_login(filler in 700_usize..1200, tail in pieces()) {
        let id = format!("{}{tail}", "L".repeat(filler));
        let mut text = format!("1: New client connected from 127.0.0.1:5 as {id} (p5, c1, k60, u'plugin.b').");
        let mut end = text.len().min(LONGEST);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        // The broker cuts by bytes, so the payload keeps its length.
        let padding = text.len().min(LONGEST) - end;
        text.truncate(end);
        let mut bytes = text.into_bytes();
        bytes.extend(std::iter::repeat_n(0xc3, padding));
        match parse(Level::Notice, &bytes, Some(V20)) {
            Some(Line::Connected { client_id, login, .. }) => {
                prop_assert_eq!((client_id, login.as_deref()), (id, Some("plugin.b")));
            }
            other => prop_assert!(matches!(other, Some(Line::Hidden { .. })), "{:?}", other),
        }
    }
}
