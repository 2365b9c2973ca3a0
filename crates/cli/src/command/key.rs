//! `key rotate`: the next key signs from now on.

use envelope::Operation;
use envelope::payload::token::{RotateRequest, Rotated};

use super::Context;
use crate::failure::Failure;
use crate::render::{Fields, Ink, clean, indented, ink};

pub(super) async fn rotate(context: &Context) -> Result<(), Failure> {
    let data = context.ask(Operation::Rotate, &RotateRequest {}, "asking the security coordinator").await?;
    context.show(data, render)
}

fn render(rotated: &Rotated) -> String {
    let retiring: Vec<String> = rotated.retiring.iter().map(|kid| clean(kid)).collect();
    let mut fields = Fields::default();
    fields
        .add("Active", clean(&rotated.active))
        .add("Next", clean(&rotated.next))
        .add("Retiring", retiring.join("\n"));
    format!(
        "the keys are {}; tokens signed before stay valid\n{}",
        ink(Ink::Good, "rotated"),
        indented(&fields.render(), "  ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::finish;

    #[test]
    fn the_keys_after_a_rotation_are_told() {
        let rotated = Rotated {
            active: "k-2".to_owned(),
            next: "k-3".to_owned(),
            retiring: vec!["k-1".to_owned(), "k\n0".to_owned()],
        };
        let expected = "\
the keys are rotated; tokens signed before stay valid
  Active     k-2
  Next       k-3
  Retiring   k-1
             k\\n0";
        assert_eq!(finish(&render(&rotated), false), expected);
    }
}
