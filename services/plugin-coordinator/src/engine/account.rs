//! Which numbers an image's user means.

use super::spec::Owner;

/// Why an image's user has no numbers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// The name is not in the image's `/etc/passwd`.
    #[error(
        "the image runs as user {0:?}, which its /etc/passwd does not have; use a number, or add the user"
    )]
    NoUser(String),
    /// The name is not in the image's `/etc/group`.
    #[error(
        "the image runs as group {0:?}, which its /etc/group does not have; use a number, or add the group"
    )]
    NoGroup(String),
}

/// Most groups that an image's user is in beside its own.
const MAX_GROUPS: usize = 32;

/// What an image's user is in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its own user and group.
    pub owner: Owner,
    /// The other groups that it is in.
    pub groups: Vec<u32>,
}

/// Resolves a `USER` of an image (`user`, `user:group`, names or numbers; empty is root) with the
/// image's own `/etc/passwd` and `/etc/group`, as the engine does where these are in order. The files are a
/// stranger's, and what the engine makes of them otherwise is its own: so containers are made with these
/// numbers, and never with the name.
pub fn resolve(user: &str, passwd: Option<&[u8]>, group: Option<&[u8]>) -> Result<Account, AccountError> {
    let (user, wanted_group) = match user.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (user, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let passwd = String::from_utf8_lossy(passwd.unwrap_or_default());
    // The engine takes a name before a number, also for a user whose name is a number.
    let entry = passwd
        .lines()
        .find_map(|line| passwd_entry(line, |name, uid| name == user || uid.to_string() == user));
    let (name, uid, main_group) = match (entry, user.parse()) {
        (Some((name, uid, gid)), _) => (name, uid, gid),
        (None, Ok(uid)) => ("", uid, 0),
        (None, Err(_)) => return Err(AccountError::NoUser(super::text::line(user, 64))),
    };
    let group = String::from_utf8_lossy(group.unwrap_or_default());
    let (gid, groups) = match wanted_group {
        None => {
            let groups = group.lines().filter_map(|line| group_with(line, name));
            (main_group, groups.take(MAX_GROUPS).collect())
        }
        Some(wanted) => {
            let entry = group.lines().find_map(|line| group_entry(line, wanted));
            match (entry, wanted.parse()) {
                (Some(gid), _) | (None, Ok(gid)) => (gid, Vec::new()),
                (None, Err(_)) => return Err(AccountError::NoGroup(super::text::line(wanted, 64))),
            }
        }
    };
    Ok(Account { owner: Owner { uid, gid }, groups })
}

fn passwd_entry(line: &str, wanted: impl Fn(&str, u32) -> bool) -> Option<(&str, u32, u32)> {
    let mut fields = line.split(':');
    let (name, _) = (fields.next()?, fields.next()?);
    let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    wanted(name, uid).then_some((name, uid, gid))
}

/// The group of this line, when the user is one of its members.
fn group_with(line: &str, user: &str) -> Option<u32> {
    let mut fields = line.split(':').skip(2);
    let (gid, members) = (fields.next()?.parse().ok()?, fields.next()?);
    (!user.is_empty() && members.split(',').any(|member| member == user)).then_some(gid)
}

fn group_entry(line: &str, wanted: &str) -> Option<u32> {
    let mut fields = line.split(':');
    let (name, _) = (fields.next()?, fields.next()?);
    let gid: u32 = fields.next()?.parse().ok()?;
    (name == wanted || gid.to_string() == wanted).then_some(gid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] =
        b"root:x:0:0::/:/bin/sh\nbroken\napp:x:100:101::/:/bin/sh\ntoor:x:0:7::/:\n\xff:x:1:1::/:\n";
    const GROUP: &[u8] = b"root:x:0:\napp:x:101:\nusb:x:44:app\n";

    #[test]
    fn users_and_groups_are_found_by_name_and_by_number() {
        for (user, uid, gid) in [
            ("", 0, 0),
            ("1000", 1000, 0),
            ("1000:1000", 1000, 1000),
            ("app", 100, 101),
            ("app:", 100, 101),
            ("100", 100, 101),
            ("app:usb", 100, 44),
            ("app:5", 100, 5),
            (":usb", 0, 44),
            ("toor", 0, 7),
        ] {
            let account = resolve(user, Some(PASSWD), Some(GROUP)).expect("it is there");
            assert_eq!(account.owner, Owner { uid, gid }, "{user:?}");
            // An explicit group is the only one, as the engine has it.
            let groups: &[u32] = if ["app", "app:", "100"].contains(&user) { &[44] } else { &[] };
            assert_eq!(account.groups, groups, "{user:?}");
        }
    }

    #[test]
    fn an_unknown_name_is_refused_and_an_unknown_number_is_taken() {
        assert_eq!(resolve("nobody", Some(PASSWD), None), Err(AccountError::NoUser("nobody".into())));
        assert_eq!(
            resolve("app:wheel", Some(PASSWD), Some(GROUP)),
            Err(AccountError::NoGroup("wheel".into()))
        );
        let number = resolve("65532", None, None).expect("a number");
        assert_eq!(number, Account { owner: Owner { uid: 65532, gid: 0 }, groups: Vec::new() });
        assert_eq!(resolve("-1", None, None), Err(AccountError::NoUser("-1".into())));
    }
}
