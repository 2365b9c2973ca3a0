use envelope::OperatorRole::{Admin, Operator, Viewer};
use envelope::{OperatorName, OperatorRole};
use proptest::prelude::*;

use super::*;

const PASSWORD: &str = "correct horse battery";

fn name(text: &str) -> OperatorName {
    OperatorName::parse(text).expect("a name")
}

fn author(request: &str) -> Author {
    Author {
        who: "operator:operator".into(),
        request_id: request.into(),
        at: Timestamp::from_seconds(1_700_000_000),
    }
}

fn adding(who: &str, role: OperatorRole) -> AddOperatorRequest {
    AddOperatorRequest { name: name(who), role, password: NewPassword::new(PASSWORD) }
}

fn changing(who: &str) -> ChangeOperatorRequest {
    ChangeOperatorRequest { name: name(who), role: None, password: None, disabled: None }
}

fn changes(decision: Result<Decision, Refusal>) -> Option<Change> {
    match decision {
        Ok(Decision::Changes(change)) => Some(change),
        Ok(Decision::Stands(_)) | Err(_) => None,
    }
}

/// Accounts as they are after some decisions.
struct Book(Accounts);

impl Book {
    fn new() -> Self {
        let first = Account::first();
        Self([(first.name.clone(), first)].into())
    }

    fn keep(&mut self, decision: Result<Decision, Refusal>) -> Result<(), Refusal> {
        if let Decision::Changes(change) = decision? {
            self.0.insert(change.account.name.clone(), change.account);
        }
        Ok(())
    }

    fn add(&mut self, who: &str, role: OperatorRole) -> Result<(), Refusal> {
        self.keep(add(&self.0, &adding(who, role), &author("add")))
    }

    fn change(&mut self, asked: &ChangeOperatorRequest) -> Result<(), Refusal> {
        self.keep(change(&self.0, asked, &author("change")))
    }

    fn disable(&mut self, who: &str) -> Result<(), Refusal> {
        let request = format!("disable {who}");
        let asked = ChangeOperatorRequest { disabled: Some(true), ..changing(who) };
        self.keep(change(&self.0, &asked, &author(&request)))
    }

    fn remove(&mut self, who: &str) -> Result<(), Refusal> {
        let request = format!("remove {who}");
        self.keep(remove(&self.0, &RemoveOperatorRequest { name: name(who) }, &author(&request)))
    }

    fn admins(&self) -> usize {
        self.0.values().filter(|account| account.is_enabled_admin()).count()
    }
}

#[test]
fn an_account_is_made_once_and_nobody_takes_its_name() {
    let mut book = Book::new();
    book.add("alice", Viewer).expect("it is free");
    for taken in ["alice", "Alice", "operator", "OPERATOR"] {
        let refusal = add(&book.0, &adding(taken, Admin), &author("other")).expect_err(taken);
        assert!(matches!(refusal, Refusal::NameTaken { .. }), "{refusal}");
    }
    book.remove("alice").expect("it is not the last admin");
    assert_eq!(
        add(&book.0, &adding("alice", Admin), &author("again")).map(|d| matches!(d, Decision::Changes(_))),
        Ok(true),
        "a removed account's name is free"
    );
}

#[test]
fn what_was_written_down_before_a_restart_is_not_done_twice() {
    let mut book = Book::new();
    book.add("alice", Viewer).expect("it is free");
    let again = add(&book.0, &adding("alice", Viewer), &author("add"));
    assert_eq!(again, Ok(Decision::Stands(book.0[&name("alice")].clone())));
    let asked = ChangeOperatorRequest { password: Some(NewPassword::new(PASSWORD)), ..changing("alice") };
    book.change(&asked).expect("it may");
    let again = change(&book.0, &asked, &author("change"));
    assert_eq!(again, Ok(Decision::Stands(book.0[&name("alice")].clone())));
    book.remove("alice").expect("it may");
    let again = remove(&book.0, &RemoveOperatorRequest { name: name("alice") }, &author("remove alice"));
    assert_eq!(again, Ok(Decision::Stands(book.0[&name("alice")].clone())));
}

#[test]
fn what_is_asked_for_is_what_changes_and_it_is_told_with_who_did_it() {
    let mut book = Book::new();
    book.add("alice", Viewer).expect("it is free");
    let asked = ChangeOperatorRequest {
        role: Some(Operator),
        password: Some(NewPassword::new(PASSWORD)),
        disabled: Some(true),
        ..changing("alice")
    };
    let change = changes(change(&book.0, &asked, &author("1"))).expect("it changes");
    assert_eq!((change.account.role, change.account.disabled), (Operator, true));
    assert!(!change.account.applied);
    assert_eq!(
        change.told,
        "The operator's account alice was changed by operator:operator: its role is operator instead of \
         viewer, it has a new password, it is disabled."
    );
    assert!(!format!("{change:?}").contains(PASSWORD));
    let same = ChangeOperatorRequest { role: Some(Viewer), disabled: Some(false), ..changing("alice") };
    let stands = Decision::Stands(book.0[&name("alice")].clone());
    assert_eq!(super::change(&book.0, &same, &author("2")), Ok(stands));
    let nothing = super::change(&book.0, &changing("alice"), &author("3"));
    assert_eq!(nothing, Err(Refusal::Nothing(name("alice"))));
}

#[test]
fn a_new_password_of_the_first_operator_says_which_files_are_no_longer_right() {
    let book = Book::new();
    let asked = ChangeOperatorRequest { password: Some(NewPassword::new(PASSWORD)), ..changing("operator") };
    let change = changes(change(&book.0, &asked, &author("1"))).expect("it changes");
    assert!(change.told.contains(".bigskies/operator.env"), "{}", change.told);
}

#[test]
fn who_is_not_there_or_gone_is_unknown() {
    let mut book = Book::new();
    book.add("alice", Viewer).expect("it is free");
    book.remove("alice").expect("it may");
    for who in ["alice", "nobody"] {
        assert_eq!(book.disable(who), Err(Refusal::Unknown(name(who))));
        let removed = remove(&book.0, &RemoveOperatorRequest { name: name(who) }, &author("x"));
        assert_eq!(removed, Err(Refusal::Unknown(name(who))));
    }
    assert_eq!(book.remove("operator"), Err(Refusal::First(name("operator"))));
}

#[test]
fn the_last_enabled_admin_stays_one_whatever_is_asked_in_whichever_order() {
    let last = |refused: Result<(), Refusal>| matches!(refused, Err(Refusal::LastAdmin { .. }));
    let mut book = Book::new();
    assert!(last(book.disable("operator")));
    let demoted = ChangeOperatorRequest { role: Some(Viewer), ..changing("operator") };
    assert!(last(book.change(&demoted)));
    book.add("alice", Admin).expect("it is free");
    book.disable("operator").expect("alice is left");
    assert!(last(book.disable("alice")));
    assert!(last(book.remove("alice")));
    let both = ChangeOperatorRequest { role: Some(Admin), disabled: Some(true), ..changing("alice") };
    assert!(last(book.change(&both)));
}

#[test]
fn a_password_is_long_enough_and_can_be_typed() {
    let fault = |password: &str| {
        let asked = AddOperatorRequest {
            name: name("alice-and-bob-and-carol"),
            role: Viewer,
            password: NewPassword::new(password),
        };
        match add(&Book::new().0, &asked, &author("1")) {
            Err(refusal @ Refusal::Password { fault, .. }) => {
                assert!(password.is_empty() || !refusal.to_string().contains(password));
                Some(fault)
            }
            other => {
                assert!(other.is_ok(), "{other:?}");
                None
            }
        }
    };
    assert_eq!(fault(""), Some(PasswordFault::Short(0)));
    assert_eq!(fault("fifteen letters"), Some(PasswordFault::Short(15)));
    assert_eq!(fault("sixteen letters!"), None);
    assert_eq!(fault(&"ü".repeat(16)), None);
    assert_eq!(fault(&"x".repeat(256)), None);
    assert_eq!(fault(&"x".repeat(257)), Some(PasswordFault::Long(257)));
    assert_eq!(fault("sixteen letters\nand more"), Some(PasswordFault::Control));
    assert_eq!(fault("sixteen letters\u{0}!"), Some(PasswordFault::Control));
    assert_eq!(fault("Alice-And-Bob-And-Carol"), Some(PasswordFault::IsName));
}

proptest! {
    #[test]
    fn there_is_always_an_enabled_admin(deeds in prop::collection::vec((0..5_u8, 0..4_usize, 0..3_usize), 0..40)) {
        let names = ["operator", "alice", "bob", "carol"];
        let mut book = Book::new();
        for (number, (deed, who, role)) in deeds.into_iter().enumerate() {
            let (who, role, request) = (names[who], OperatorRole::ALL[role], author(&number.to_string()));
            let decision = match deed {
                0 => add(&book.0, &adding(who, role), &request),
                1 => remove(&book.0, &RemoveOperatorRequest { name: name(who) }, &request),
                2 => change(&book.0, &ChangeOperatorRequest { role: Some(role), ..changing(who) }, &request),
                n => {
                    let asked = ChangeOperatorRequest { disabled: Some(n == 3), ..changing(who) };
                    change(&book.0, &asked, &request)
                }
            };
            let _ = book.keep(decision);
            prop_assert!(book.admins() > 0);
        }
    }
}
