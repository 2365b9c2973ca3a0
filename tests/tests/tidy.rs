//! The shape of the workspace: who may depend on whom, who owns what, what nothing may contain.

mod tidy {
    mod layers;
    mod logs;
    mod owners;
    mod places;
    mod sources;
    mod supply;
}
