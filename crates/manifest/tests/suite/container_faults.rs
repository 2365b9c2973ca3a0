//! What a manifest may not ask for its container.

use serde_json::{Value, json};

use crate::faults::{check, faults};
use crate::samples::manifest_with;

#[test]
fn what_a_container_may_ask_for_is_checked() {
    let docker = |key: &str, value: Value| json!({"docker": {key: value}});
    check(&[
        (docker("image", json!("https://example.org/x")), "/docker/image", "address of the web"),
        (docker("image", json!("a b")), "/docker/image", "other characters"),
        (docker("ports", json!("8080")), "/docker/ports", "is a text"),
        (docker("ports", json!(["80", "8000-8010:80"])), "/docker/ports/1", "is a range"),
        (docker("ports", json!([{"target": 80}])), "/docker/ports/0", "is an object"),
        (docker("ports", json!(["1:80", "0.0.0.0:1:81"])), "/docker/ports/1", "same port of the host"),
        (docker("ports", json!([0])), "/docker/ports/0", "not a port number"),
        (docker("volumes", json!(["/:/host"])), "/docker/volumes/0", "would show"),
        (docker("volumes", json!(["/var/run/docker.sock:/s"])), "/docker/volumes/0", "socket"),
        (docker("volumes", json!(["ab:/x", "cd:/x/"])), "/docker/volumes/1", "second time"),
        (docker("volumes", json!(["ab:/config"])), "/docker/volumes/0", "would cover /config"),
        (docker("networks", json!(["host"])), "/docker/networks/0", "not a network for plugins"),
        (docker("networks", json!("host")), "/docker/networks", "is a text"),
        (docker("user", json!("nobody")), "/docker/user", "not a user by number"),
        (docker("user", json!(-1)), "/docker/user", "not a user by number"),
        (docker("environment", json!(["A=b"])), "/docker/environment", "is a list"),
        (docker("environment", json!({"A-B": "c"})), "/docker/environment/A-B", "not a name"),
        (docker("environment", json!({"": "c"})), "/docker/environment/", "not a name"),
        (docker("environment", json!({"1A": "c"})), "/docker/environment/1A", "not a name"),
        (docker("environment", json!({"A": "b\0c"})), "/docker/environment/A", "U+0000"),
        (docker("environment", json!({"A": {}})), "/docker/environment/A", "is an object"),
        (docker("environment", json!({"A": null})), "/docker/environment/A", "is null"),
        (docker("environment", json!({"A": "x".repeat(17_000)})), "/docker/environment/A", "17000 bytes"),
    ]);
}

#[test]
fn rights_that_no_plugin_can_have_are_refused_wherever_they_are_asked_for() {
    for (key, value) in [
        ("privileged", json!(true)),
        ("Privileged", json!("true")),
        ("cap_add", json!(["SYS_ADMIN"])),
        ("capAdd", json!(["ALL"])),
        ("network_mode", json!("host")),
        ("NetworkMode", json!("container:mqtt-broker")),
        ("host_network", json!(true)),
        ("pid_mode", json!("host")),
        ("userns_mode", json!("host")),
        ("cgroup_parent", json!("/")),
        ("security_opt", json!(["seccomp=unconfined"])),
        ("device_cgroup_rules", json!(["a *:* rwm"])),
        ("volumes_from", json!(["x"])),
        ("extra_hosts", json!(["mqtt-broker:1.2.3.4"])),
        ("HostConfig", json!({"Privileged": true})),
    ] {
        let below = format!("/docker/{key}");
        check(&[
            (json!({"docker": {key: value.clone()}}), below.as_str(), "s"),
            (json!({key: value}), format!("/{key}").as_str(), "s"),
        ]);
    }
}

#[test]
fn words_that_ask_for_such_rights_in_a_container_are_ordinary_elsewhere() {
    for (key, value) in [
        ("pid", json!("host")),
        ("ipc", json!("host")),
        ("uts", json!("host")),
        ("network", json!("host")),
        ("capabilities", json!(["SYS_ADMIN"])),
        ("sysctls", json!({"net.ipv4.ip_forward": 1})),
        ("runtime", json!("other")),
        ("mounts", json!([{"type": "bind", "source": "/"}])),
        ("devices", json!(["/dev/sda"])),
    ] {
        let below = format!("/docker/{key}");
        check(&[(json!({"docker": {key: value}}), below.as_str(), "s")]);
    }
    let ordinary = json!({"pid": {"p": 1, "i": 0}, "mounts": ["equatorial"], "network": "alpaca"});
    assert_eq!(faults(&manifest_with(ordinary)), []);
    assert_eq!(faults(&manifest_with(json!({"docker": {"network_mode": "bigskies-network"}}))), []);
}

#[test]
fn the_configuration_is_put_where_it_can_do_no_harm() {
    let at = "/docker/environment/PLUGIN_CONFIG";
    let with = |path: &str, volumes: Value| json!({"docker": {"environment": {"PLUGIN_CONFIG": path}, "volumes": volumes}});
    check(&[
        (with("plugin.conf", json!([])), at, "is not absolute"),
        (with("/config/../etc/passwd", json!([])), at, "contains \"..\""),
        (with("/config//x", json!([])), at, "empty component"),
        (with("/config", json!([])), at, "is a folder"),
        (with("/config/x/", json!([])), at, "is a folder"),
        (with("/", json!([])), at, "is a folder"),
        (with("/proc/sys/kernel/core_pattern", json!([])), at, "would cover /proc"),
        (with("/etc/hosts", json!([])), at, "would cover /etc/hosts"),
        (with("/etc", json!([])), at, "would cover /etc/hosts"),
        (with("/images/x.conf", json!(["/srv/images:/images"])), at, "lies on the host"),
        (with("/data", json!(["data:/data/deep"])), at, "is covered by"),
    ]);
    for (path, volumes) in [
        ("/config/plugin.conf", json!([])),
        ("/etc/myplugin/plugin.conf", json!([])),
        ("/data/plugin.conf", json!(["data:/data", "/srv/images:/images"])),
    ] {
        assert_eq!(faults(&manifest_with(with(path, volumes))), [], "{path}");
    }
}
