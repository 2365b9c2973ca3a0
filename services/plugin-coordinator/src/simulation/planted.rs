//! Planted defects: that nothing is found means something only if what is wrong would be found.

use super::world::Plant;
use super::{run, told};

/// So many runs at most until a defect is found.
const PATIENCE: u64 = 3_000;

/// Runs until the defect is found, and looks whether it is called by its name.
fn found(plant: Plant, name: &str) {
    for seed in 0..PATIENCE {
        if let Some(broken) = run(seed, Some(plant), false).broken {
            assert!(broken.contains(name), "{plant:?} was found as: {broken}");
            let told = told(seed, Some(plant));
            assert!(told.contains("BROKEN") && told.contains(&format!("BIGSKIES_SEED={seed} ")), "{told}");
            return;
        }
    }
    panic!("{plant:?} was not found in {PATIENCE} runs");
}

#[test]
fn a_second_container_is_found() {
    found(Plant::SecondContainer, "two containers");
}

#[test]
fn a_login_that_is_not_taken_back_is_found() {
    found(Plant::KeepsLogins, "login");
}

#[test]
fn an_outcome_that_gets_lost_is_found() {
    found(Plant::DropsOutcomes, "ended without an answer");
}

#[test]
fn a_container_with_more_than_was_granted_is_found() {
    found(Plant::GivesMore, "may have");
}

#[test]
fn a_transition_without_a_cause_is_found() {
    found(Plant::LosesCauses, "without a cause");
}

#[test]
fn a_plugin_that_never_gets_its_rights_is_found() {
    found(Plant::NeverAcknowledges, "not settled");
}

#[test]
fn a_plugin_that_waits_for_another_is_found() {
    found(Plant::OneBlocksAll, "not settled");
}

#[test]
fn a_container_of_nobody_is_found() {
    found(Plant::Stranger, "belongs to no registered plugin");
}

#[test]
fn a_fault_of_its_own_is_found() {
    found(Plant::StoreFailsByItself, "the store did not fail it");
}

#[test]
fn a_container_with_another_configuration_is_found() {
    found(Plant::ConfiguresOtherwise, "is configured with");
}

#[test]
fn a_configuration_that_is_not_recorded_is_found() {
    found(Plant::ForgetsConfig, "its configuration is");
}

#[test]
fn an_image_that_is_not_removed_is_found() {
    found(Plant::KeepsImages, "image registry.example.com/");
}

#[test]
fn an_image_that_nobody_remembers_is_found() {
    found(Plant::ForgetsImages, "is left, which nothing needs");
}

#[test]
fn data_that_is_not_removed_is_found() {
    found(Plant::KeepsVolumes, "is gone with its data");
}

#[test]
fn data_that_gets_lost_is_found() {
    found(Plant::LosesVolumes, "is lost");
}
