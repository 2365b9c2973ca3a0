//! Lines of the broker's log about connections, of Mosquitto 2.0 and 2.1.
//!
//! The lines are prose with a client id in the middle, which is whatever its client chose. So each is read
//! from both ends towards the id: what stands before it and after it is the broker's, and of two places
//! that look like the end of the id the rightmost is the true one.

use crate::broker::Version;

/// What the broker cuts a line to, less one: it formats into 1000 bytes, the last of which is zero.
const LONGEST: usize = 999;
/// How the lines begin that matter here; others begin with the time, then `: `.
const BEGINNINGS: [&str; 4] = ["New ", "Client ", "Bad ", "Outgoing "];
/// How a 2.0 broker says that a connection has ended, after the client id.
const ENDINGS: [&str; 11] = [
    " disconnected.",
    " closed its connection.",
    " has exceeded timeout, disconnecting.",
    " been disconnected by administrative action.",
    " disconnected due to malformed packet.",
    " disconnected due to protocol error.",
    " disconnected due to oversize packet.",
    " disconnected due to oversize payload.",
    " disconnected due to out of memory.",
    " disconnected due to QoS too high or retain not supported.",
    " disconnected due to using not allowed feature (QoS too high, retain not supported, or bad AUTH method).",
];
/// Why a 2.1 broker does not let somebody in.
const REFUSALS: [&str; 5] = [
    "not authorised.",
    "bad username or password.",
    "client identifier not valid.",
    "bad authentication method.",
    "client banned.",
];
/// What stands in the place of the id of a client that has not told it.
const UNKNOWN: &str = "<unknown>";

/// On which of the log's topics a line came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Error,
    Notice,
}

/// What a line says. An address is `host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    /// Somebody opened a connection and has not said who it is.
    Opened { address: String },
    /// Somebody was let in; the login is missing where there is none, or where it cannot be told for sure.
    Connected { client_id: String, login: Option<String>, address: String },
    /// Somebody was let in under an id so long that the line was cut: this is its beginning, and the login
    /// is unknown.
    Hidden { beginning: String, address: String },
    /// A connection is closed because its client id is taken over.
    TakenOver { client_id: String, address: Option<String> },
    /// A connection has ended; the id is missing where the broker does not tell it.
    Ended { client_id: Option<String>, address: Option<String> },
    /// Somebody was not let in, or (2.1, by its address) a connection ended for want of authorisation.
    Refused { client_id: Option<String>, address: Option<String> },
    /// The broker drops messages for this client, which is too slow.
    Dropping { client_id: String },
}

/// Reads a line that came at `level` from a broker of `version`. Most lines are about something else.
pub(crate) fn parse(level: Level, payload: &[u8], version: Option<Version>) -> Option<Line> {
    let cut = payload.len() >= LONGEST;
    let line = if cut { String::from_utf8_lossy(payload) } else { std::str::from_utf8(payload).ok()?.into() };
    let text = without_time(&line);
    if let Some(rest) = text.strip_prefix("New client connected from ") {
        let (address, rest) = rest.split_once(" as ")?;
        let address = address_of(address)?;
        return Some(if cut {
            Line::Hidden { beginning: rest.to_owned(), address }
        } else {
            let (client_id, login) = id_and_login(rest)?;
            Line::Connected { client_id, login, address }
        });
    }
    if cut {
        // The end of the line is what its client chose.
        return None;
    }
    if let Some(rest) = text.strip_prefix("New connection from ") {
        let (address, _) = rest.split_once(" on port ")?;
        return Some(Line::Opened { address: address_of(address)? });
    }
    if let Some(rest) = text.strip_prefix("Outgoing messages are being dropped for client ") {
        return Some(Line::Dropping { client_id: rest.strip_suffix('.')?.to_owned() });
    }
    if let Some(rest) = text.strip_prefix("Bad socket read/write on client ") {
        let (id, _) = rest.rsplit_once(": ")?;
        return Some(Line::Ended { client_id: known(id), address: None });
    }
    let rest = text.strip_prefix("Client ")?;
    match level {
        Level::Error => {
            let id = rest.strip_suffix(" already connected, closing old connection.")?;
            Some(Line::TakenOver { client_id: id.to_owned(), address: None })
        }
        Level::Notice if version.is_some_and(Version::tells_addresses) => with_address(rest),
        Level::Notice => without_address(rest),
    }
}

/// The line without the time before it, as far as there is one.
fn without_time(line: &str) -> &str {
    if BEGINNINGS.iter().any(|beginning| line.starts_with(beginning)) {
        return line;
    }
    line.split_once(": ").map_or(line, |(_, rest)| rest)
}

/// `ID (p2, c1, k60, u'LOGIN').`, from the right: a login of the framework's has no space in it.
fn id_and_login(rest: &str) -> Option<(String, Option<String>)> {
    let inner = rest.strip_suffix(").")?;
    let (id, details) = inner.rsplit_once(" (p")?;
    let mut parts = details.splitn(4, ", ");
    let number = |text: Option<&str>, letter: &str| -> Option<()> {
        let digits = text?.strip_prefix(letter)?;
        (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())).then_some(())
    };
    number(parts.next(), "")?;
    number(parts.next(), "c")?;
    number(parts.next(), "k")?;
    let login = match parts.next() {
        None => None,
        Some(login) => Some(login.strip_prefix("u'")?.strip_suffix('\'')?.to_owned()),
    };
    Some((id.to_owned(), login))
}

/// 2.1: `ID [ADDRESS] disconnected.` or `ID [ADDRESS] disconnected: REASON`.
fn with_address(rest: &str) -> Option<Line> {
    let (before, after) = rest.rsplit_once("] disconnected")?;
    let (id, address) = before.rsplit_once(" [")?;
    let address = Some(address_of(address)?);
    match after.strip_prefix(": ") {
        Some("session taken over.") => Some(Line::TakenOver { client_id: id.to_owned(), address }),
        Some(reason) if REFUSALS.contains(&reason) => Some(Line::Refused { client_id: known(id), address }),
        Some(_) => Some(Line::Ended { client_id: known(id), address }),
        None => (after == ".").then(|| Line::Ended { client_id: known(id), address }),
    }
}

/// 2.0: the id, then one of a list of sentences.
fn without_address(rest: &str) -> Option<Line> {
    if let Some(id) = rest.strip_suffix(" disconnected, not authorised.") {
        return Some(Line::Refused { client_id: known(id), address: None });
    }
    let ended = ENDINGS.iter().find_map(|ending| rest.strip_suffix(ending));
    let (id, _) = match ended {
        Some(id) => (id, ""),
        // With what the operating system says of the connection.
        None => rest.strip_suffix('.')?.rsplit_once(" disconnected: ")?,
    };
    Some(Line::Ended { client_id: known(id), address: None })
}

fn known(id: &str) -> Option<String> {
    (id != UNKNOWN).then(|| id.to_owned())
}

fn address_of(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':')?;
    let sound = !host.is_empty()
        && text.len() <= 80
        && port.parse::<u16>().is_ok()
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".:%-_".contains(&b));
    sound.then(|| text.to_owned())
}

#[cfg(test)]
mod tests;
