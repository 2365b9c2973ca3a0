//! Where the password of an account comes from. It is never an argument: those can be seen by everybody on
//! the machine.

use std::io::{self, IsTerminal, Read};

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use envelope::payload::account::{NewPassword, PasswordFault};

use crate::args::NewPasswordFrom;
use crate::failure::Failure;
use crate::prompt::Ask;

/// Bytes of a generated password: 256 bits.
const RANDOM: usize = 32;
/// How often somebody may mistype.
const TRIES: usize = 3;

/// A password, and whether it has to be shown because nobody knows it yet.
#[derive(Debug)]
pub(super) struct Chosen {
    /// The password.
    pub(super) password: NewPassword,
    /// Whether it was made here.
    pub(super) generated: bool,
}

/// Gets the password for `account` from where the options say, or from `asked` at the terminal.
///
/// # Errors
/// When it does not have the length that is asked for, or nobody can be asked.
pub(super) async fn choose(
    from: &NewPasswordFrom,
    account: &str,
    asked: Option<&mut impl Ask>,
) -> Result<Chosen, Failure> {
    if from.generate {
        return Ok(Chosen { password: generate()?, generated: true });
    }
    let password = if from.password_stdin {
        let stdin = io::stdin();
        if stdin.is_terminal() {
            return Err(Failure::Usage(
                "--password-stdin is for a pipe or a file: at a terminal, leave it out and you are asked"
                    .to_owned(),
            ));
        }
        from_stream(stdin.lock())?
    } else {
        let asked = asked.ok_or_else(|| {
            Failure::Usage(
                "there is nobody to ask for the password: add --password-stdin or --generate".to_owned(),
            )
        })?;
        from_terminal(account, asked).await?
    };
    Ok(Chosen { password, generated: false })
}

/// Random bits in base64url (RFC 4648, section 5), which no file, shell or URL changes.
fn generate() -> Result<NewPassword, Failure> {
    let mut bytes = [0; RANDOM];
    rand::fill(&mut bytes).map_err(|_| io::Error::other("the system gives no random numbers"))?;
    Ok(NewPassword::new(URL_SAFE_NO_PAD.encode(bytes)))
}

/// All of `stream` but the line break at its end.
fn from_stream(stream: impl Read) -> Result<NewPassword, Failure> {
    // Two more than allowed, for a line break, and one, to see that there is more.
    let most = NewPassword::MOST as u64 + 3;
    let mut bytes = Vec::new();
    stream.take(most).read_to_end(&mut bytes)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::Usage("the password on standard input is not UTF-8".to_owned()))?;
    let text = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    check(text).map_err(|why| Failure::Usage(format!("the password on standard input {why}")))
}

/// Asks twice, because nobody sees what is typed.
async fn from_terminal(account: &str, asked: &mut impl Ask) -> Result<NewPassword, Failure> {
    for _ in 0..TRIES {
        let typed = asked.line(&format!("New password for {account}: "), true).await?;
        let password = match check(&typed) {
            Ok(password) => password,
            Err(why) => {
                asked.tell(&format!("That password {why}."));
                continue;
            }
        };
        if asked.line("The same again: ", true).await? == password.expose() {
            return Ok(password);
        }
        asked.tell("The two are not the same.");
    }
    Err(Failure::Usage(format!("{account} was not changed: no password was given in {TRIES} tries")))
}

/// Checks what the coordinator would refuse too, without sending the password anywhere.
fn check(text: &str) -> Result<NewPassword, String> {
    let password = NewPassword::new(text);
    match password.fault() {
        None => Ok(password),
        Some(PasswordFault::Short(characters)) => {
            Err(format!("has {characters} characters; it must have at least {}", NewPassword::LEAST))
        }
        Some(PasswordFault::Long(_)) => {
            Err(format!("has more than {} bytes, which is the most", NewPassword::MOST))
        }
        Some(PasswordFault::Control) => Err("has control characters, such as a second line".to_owned()),
        // Only the coordinator compares it with names.
        Some(fault @ PasswordFault::IsName) => Err(fault.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::tests::Script;

    const GOOD: &str = "correct horse battery";

    fn shown(result: &Result<NewPassword, Failure>) -> String {
        match result {
            Ok(password) => password.expose().to_owned(),
            Err(failure) => failure.to_string(),
        }
    }

    #[test]
    fn a_stream_gives_one_line_of_the_right_length() {
        let read = |text: &str| shown(&from_stream(text.as_bytes()));
        assert_eq!(read(&format!("{GOOD}\n")), GOOD);
        assert_eq!(read(&format!("{GOOD}\r\n")), GOOD);
        assert_eq!(read(GOOD), GOOD);
        assert_eq!(read(&"x".repeat(NewPassword::MOST)).len(), NewPassword::MOST);
        for (text, why) in [
            ("", "has 0 characters"),
            ("short\n", "has 5 characters"),
            (&format!("{GOOD}\n\n") as &str, "control characters"),
            (&"x".repeat(NewPassword::MOST + 1), "more than 256 bytes"),
            (&"x".repeat(1_000_000), "more than 256 bytes"),
        ] {
            assert!(read(text).contains(why), "{why}: {}", read(text));
        }
        assert!(shown(&from_stream(&b"\xff\xfe-----------------"[..])).contains("UTF-8"));
    }

    #[test]
    fn generated_passwords_have_256_bits_and_are_never_the_same() {
        let (one, other) = (generate().expect("random"), generate().expect("random"));
        assert_eq!(URL_SAFE_NO_PAD.decode(one.expose()).map(|bytes| bytes.len()), Ok(32));
        assert_ne!(one, other);
        assert!(check(one.expose()).is_ok());
    }

    #[tokio::test]
    async fn a_typed_password_is_hidden_and_typed_twice() {
        let mut script = Script::new(&["short", GOOD, "another one, mistyped", GOOD, GOOD]);
        let password = from_terminal("ann", &mut script).await;
        assert_eq!(shown(&password), GOOD);
        assert_eq!(
            script.heard,
            [
                "New password for ann: (hidden)",
                "That password has 5 characters; it must have at least 16.",
                "New password for ann: (hidden)",
                "The same again: (hidden)",
                "The two are not the same.",
                "New password for ann: (hidden)",
                "The same again: (hidden)",
            ]
        );
    }

    #[tokio::test]
    async fn who_never_types_the_same_twice_is_let_go() {
        let failure = from_terminal("ann", &mut Script::new(&[])).await.expect_err("no password");
        assert!(failure.to_string().contains("3 tries"), "{failure}");
    }

    #[tokio::test]
    async fn where_nobody_can_be_asked_the_options_are_named() {
        let from = NewPasswordFrom::default();
        let failure = choose(&from, "ann", None::<&mut Script>).await.expect_err("nobody");
        assert!(failure.to_string().contains("--password-stdin or --generate"), "{failure}");
    }
}
