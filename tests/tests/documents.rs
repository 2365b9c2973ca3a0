//! The documents say what the code does.

mod documents {
    mod configuration;
    mod decisions;
    mod reference;
    mod sdk;
}
