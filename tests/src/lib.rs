//! End-to-end and tidy tests of the whole workspace.
