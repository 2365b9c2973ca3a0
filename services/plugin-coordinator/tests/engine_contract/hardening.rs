//! What a container of this engine is, seen from inside of it.

use std::time::Duration;

use plugin_coordinator::engine::{
    Attachment, ContainerSpec, Device, Engine, HostEntry, Limits, Mount, MountSource, NetworkSpec, Owner,
    Tmpfs, UploadFile, label,
};
use serde_json::json;
use testkit::eventually;

use crate::push::{Entry, PushedImage};
use crate::subject::{Kind, Real, Subject};

/// Runs a container to its end and returns what it wrote.
async fn output(real: &Real, spec: &ContainerSpec) -> String {
    let id = real.engine.create(spec).await.expect("a container");
    real.engine.start(&id).await.expect("it starts");
    finished(real, &id).await
}

async fn finished(real: &Real, id: &str) -> String {
    eventually(Duration::from_secs(30), || async {
        let found = real.engine.inspect(id).await.map_err(|e| e.to_string())?;
        found.and_then(|found| found.state.exit()).ok_or("it runs")?;
        Ok::<_, String>(())
    })
    .await;
    real.engine.logs(id, 1000, 100_000).await.expect("an answer").text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_has_no_capabilities_and_cannot_get_any() {
    Real::test(|real| async move {
        let image = real.script("status", "cat /proc/self/status", vec![]).await;
        let status = output(&real, &real.spec("one", &image)).await;
        for line in ["CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb"] {
            assert!(status.contains(&format!("{line}:\t{:016x}\n", 0)), "{line} in\n{status}");
        }
        assert!(status.contains("NoNewPrivs:\t1\n"), "{status}");
        assert!(status.contains("Seccomp:\t2\n"), "{status}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_engine_was_told_is_what_cannot_be_switched_off() {
    Real::test(|real| async move {
        let image = real.image(Kind::Obedient).await;
        let mut spec = real.spec("one", &image);
        spec.limits = Limits {
            memory_bytes: Some(64 << 20),
            nano_cpus: Some(500_000_000),
            pids: Some(20),
            nofile: Some(256),
        };
        spec.stop_timeout = Some(Duration::from_secs(7));
        let id = real.engine.create(&spec).await.expect("a container");
        let found = real
            .docker
            .inspect_container(&id, None::<bollard::query_parameters::InspectContainerOptions>)
            .await
            .expect("it is there");
        let host = found.host_config.expect("a host configuration");
        assert_eq!(host.cap_drop, Some(vec!["ALL".into()]));
        assert!(host.cap_add.unwrap_or_default().is_empty());
        assert_eq!(host.security_opt, Some(vec!["no-new-privileges".into()]));
        assert_eq!(host.privileged, Some(false));
        assert_eq!(host.network_mode.as_deref(), Some("none"));
        assert_eq!(host.ipc_mode.as_deref(), Some("private"));
        assert_eq!((host.pid_mode.as_deref(), host.uts_mode.as_deref()), (Some(""), Some("")));
        assert_eq!(
            host.restart_policy.and_then(|policy| policy.name).map(|name| name.to_string()).as_deref(),
            Some("no")
        );
        assert_eq!((host.memory, host.memory_swap), (Some(64 << 20), Some(64 << 20)));
        assert_eq!((host.nano_cpus, host.pids_limit), (Some(500_000_000), Some(20)));
        let log = host.log_config.expect("a log configuration");
        assert_eq!(log.typ.as_deref(), Some("json-file"));
        assert_eq!(log.config.expect("bounds").get("max-size").map(String::as_str), Some("10485760"));
        assert_eq!(found.config.and_then(|config| config.stop_timeout), Some(7));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_bind() {
    Real::test(|real| async move {
        let script =
            "ulimit -n; x=$(cat /proc/self/cgroup); echo \"$x\"; tail=x; while :; do tail=$tail$tail; done";
        let image = real.script("hungry", script, vec![]).await;
        let mut spec = real.spec("one", &image);
        spec.limits =
            Limits { memory_bytes: Some(16 << 20), nano_cpus: None, pids: Some(20), nofile: Some(256) };
        // The engine hears of a want of memory on another way than of the end, and sometimes too late
        // (containerd issue 8180): each is killed, and of one in five it is told why.
        let mut told = false;
        for at in 0..5 {
            spec.name = real.name(&format!("hungry-{at}"));
            let output = output(&real, &spec).await;
            assert!(output.starts_with("256\n"), "{output}");
            let found = real.engine.inspect(&spec.name).await.expect("an answer").expect("it is there");
            let exit = found.state.exit().expect("it has ended");
            assert_eq!(exit.code, 137, "{exit:?}");
            told = exit.oom_killed;
            if told {
                break;
            }
        }
        assert!(told, "five were killed, and of none was told why");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_volumes_and_memory_are_where_and_whose_they_should_be() {
    Real::test(|real| async move {
        let script = "stat -c '%n %u:%g %a' /config /config/plugin.json /data /ram /tmp /etc; cat /config/plugin.json; \
                      echo x > /data/x && echo wrote; (echo y > /ro/y) 2> /dev/null || echo kept; cat /data/seed; id -u; cat /host/mark";
        let entries = vec![
            Entry::Folder("/data/", 0o750, 0),
            Entry::File("/data/seed", b"seed\n".to_vec()),
            Entry::Folder("/etc/", 0o711, 42),
        ];
        let image = real.script("files", script, entries).await;
        let host = tempfile::tempdir().expect("a folder");
        std::fs::write(host.path().join("mark"), "mark\n").expect("a file");
        let mut spec = real.spec("one", &image);
        spec.user = Some("1234".into());
        let volume = |what: &str| MountSource::Volume(real.name(what));
        spec.mounts = vec![
            Mount { source: volume("data"), target: "/data".into(), read_only: false },
            Mount { source: volume("ro"), target: "/ro".into(), read_only: true },
            Mount { source: MountSource::HostFolder(host.path().display().to_string()), target: "/host".into(), read_only: true },
        ];
        spec.tmpfs = vec![Tmpfs { target: "/ram".into(), size_bytes: 1 << 20 }];
        let id = real.engine.create(&spec).await.expect("a container");
        let owner = Owner { uid: 1234, gid: 5678 };
        real.engine.set_owner(&id, "/data", owner).await.expect("the owner is set");
        let file = |path: &str, bytes: &[u8]| UploadFile { path: path.into(), bytes: bytes.into(), owner, mode: 0o400 };
        real.engine.upload(&id, &[file("/config/plugin.json", b"{}\n"), file("/etc/plugin.conf", b"x")]).await.expect("uploaded");
        std::fs::set_permissions(host.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("its own folder");
        real.engine.start(&id).await.expect("it starts");
        let output = finished(&real, &id).await;
        let expected = "/config 0:0 755\n/config/plugin.json 1234:5678 400\n/data 1234:5678 750\n/ram 0:0 1777\n/tmp 0:0 1777\n\
                        /etc 42:42 711\n{}\nwrote\n";
        assert!(output.starts_with(expected), "{output}");
        assert!(output.ends_with("kept\nseed\n1234\nmark\n"), "{output}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_folder_of_the_image_does_not_take_its_owner_back() {
    Real::test(|real| async move {
        let image =
            real.script("empty", "stat -c '%u:%g %a' /data", vec![Entry::Folder("/data/", 0o755, 0)]).await;
        let volume = MountSource::Volume(real.name("data"));
        for what in ["first", "second"] {
            let mut spec = real.spec(what, &image);
            spec.mounts = vec![Mount { source: volume.clone(), target: "/data".into(), read_only: false }];
            let id = real.engine.create(&spec).await.expect("a container");
            real.engine.set_owner(&id, "/data", Owner { uid: 7, gid: 8 }).await.expect("the owner is set");
            real.engine.start(&id).await.expect("it starts");
            assert_eq!(finished(&real, &id).await, "7:8 755\n");
            real.engine.remove(&id).await.expect("removed");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_cannot_act_on_a_terminal() {
    Real::test(|real| async move {
        let image = real.script("rude", r"printf 'a\033[2Jb\007\n\377\n'", vec![]).await;
        assert_eq!(output(&real, &real.spec("one", &image)).await, "a\\u{1b}[2Jb\\u{7}\n\u{fffd}\n");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_cannot_label_itself_into_another_installation_or_out_of_sight() {
    Real::test(|real| async move {
        let config = json!({"Cmd": ["/x"], "Labels": {
            "run": real.run(), label::INSTALLATION: "victim", label::START: "one", label::THROW_AWAY: real.run(),
        }});
        let image = real.push("evil", &PushedImage { config, ..Default::default() }).await;
        real.engine.pull(&image, None, &mut |_| {}).await.expect("the pull works");
        let id = real.engine.create(&real.spec("one", &image.to_string())).await.expect("a container");
        assert_eq!(real.engine.sweep().await.expect("an answer"), 0);
        let listed: Vec<_> = real.engine.list(real.run()).await.expect("a list").into_iter().map(|found| found.id).collect();
        assert_eq!(listed, [id]);
        let mut without = real.spec("two", &image.to_string());
        without.labels.clear();
        let id = real.engine.create(&without).await.expect("a container");
        assert_eq!(real.engine.list("victim").await.expect("a list"), []);
        let error = real.engine.create(&without).await.expect_err("the image's label is no start of ours");
        assert!(matches!(error, plugin_coordinator::engine::EngineError::Conflict { .. }), "{error:?}");
        real.engine.remove(&id).await.expect("removed");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_find_each_other_by_alias_on_each_of_their_networks() {
    Real::test(|real| async move {
        let names = [real.name("first"), real.name("second")];
        for name in &names {
            let spec = NetworkSpec {
                name: name.clone(),
                internal: true,
                masquerade: false,
                icc: true,
                labels: real.labels("n"),
            };
            real.engine.ensure_network(&spec).await.expect("a network");
        }
        let attach = |alias: &str| {
            let attachment =
                |name: &String| Attachment { network: name.clone(), aliases: vec![alias.to_owned()] };
            names.iter().map(attachment).collect::<Vec<_>>()
        };
        let image = real.image(Kind::Obedient).await;
        let mut server = real.spec("server", &image);
        server.networks = attach("the-server");
        let id = real.engine.create(&server).await.expect("a container");
        real.engine.start(&id).await.expect("it starts");
        let found = real.engine.inspect(&id).await.expect("an answer").expect("it is there");
        assert!(found.networks.len() == 2 && found.networks.values().all(Option::is_some), "{found:?}");
        let found = real
            .docker
            .inspect_container(&id, None::<bollard::query_parameters::InspectContainerOptions>)
            .await
            .expect("it is there");
        let networks = found.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        for name in &names {
            let aliases =
                networks.get(name).and_then(|endpoint| endpoint.aliases.clone()).unwrap_or_default();
            assert!(aliases.contains(&"the-server".to_owned()), "{name}: {aliases:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_is_read_by_the_containers_user_and_by_nobody_else() {
    Real::test(|real| async move {
        let script = "cat /config/plugin.json || echo denied; (echo x > /config/y) 2> /dev/null || echo kept; \
                      (echo x > /config/plugin.json) 2> /dev/null || echo unchanged";
        let image = real.script("config", script, vec![]).await;
        let owner = Owner { uid: 1234, gid: 5678 };
        for (user, expected) in [("1234:5678", "secret\nkept\nunchanged\n"), ("4321:5678", "denied\nkept\nunchanged\n")] {
            let mut spec = real.spec(&format!("as-{}", &user[..4]), &image);
            spec.user = Some(user.into());
            let id = real.engine.create(&spec).await.expect("a container");
            let file = UploadFile { path: "/config/plugin.json".into(), bytes: b"secret\n".to_vec(), owner, mode: 0o400 };
            real.engine.upload(&id, &[file]).await.expect("uploaded");
            real.engine.start(&id).await.expect("it starts");
            let output = finished(&real, &id).await;
            let told: String = output.lines().filter(|line| !line.starts_with("cat:")).map(|line| format!("{line}\n")).collect();
            assert_eq!(told, expected, "as {user}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_container_writes_nothing_of_its_own() {
    Real::test(|real| async move {
        let image = real.script("read-only", "(echo x > /tmp/x) 2> /dev/null || echo kept", vec![]).await;
        let mut spec = real.spec("one", &image);
        spec.read_only = true;
        assert_eq!(output(&real, &spec).await, "kept\n");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lies_at_a_path_of_the_host_is_seen_through_the_engine() {
    Real::test(|real| async move {
        let image = real.image(Kind::Files).await;
        let host = tempfile::tempdir().expect("a folder");
        let at = |name: &str| host.path().join(name);
        std::fs::create_dir(at("folder")).expect("a folder");
        std::fs::write(at("file"), "x").expect("a file");
        std::os::unix::fs::symlink("/etc", at("link")).expect("a link");
        std::os::unix::fs::symlink("/no/such", at("dangling")).expect("a link");
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).expect("a socket");
        for (name, entry) in [
            ("folder", HostEntry::Folder),
            ("file", HostEntry::File),
            ("link", HostEntry::Link),
            ("dangling", HostEntry::Link),
            ("socket", HostEntry::Other),
            ("missing", HostEntry::Missing),
            ("missing/deeper", HostEntry::Missing),
        ] {
            let path = at(name).display().to_string();
            assert_eq!(real.engine.host_entry(&image, &path).await.expect("an answer"), entry, "{name}");
        }
        assert!(!at("missing").exists(), "looking made it");
        assert_eq!(real.leftovers().await, Vec::<String>::new());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_stands_where_it_was_asked_for_and_can_be_used_as_it_was_approved() {
    Real::test(|real| async move {
        let image = real.script("device", "read -r _ < /dev/mine; echo $?", vec![]).await;
        for (name, read_only, permissions) in [("reads", true, "r"), ("writes", false, "rw")] {
            let mut spec = real.spec(name, &image);
            let (path, container_path) = ("/dev/null".into(), "/dev/mine".into());
            spec.devices = vec![Device { path, container_path, read_only }];
            assert_eq!(output(&real, &spec).await, "1\n", "it is there, and at its end at once");
            let found = real
                .docker
                .inspect_container(&spec.name, None::<bollard::query_parameters::InspectContainerOptions>)
                .await
                .expect("it is there");
            let devices = found.host_config.and_then(|host| host.devices).expect("a device");
            let [device] = devices.as_slice() else { panic!("{devices:?}") };
            assert_eq!(device.path_on_host.as_deref(), Some("/dev/null"));
            assert_eq!(device.path_in_container.as_deref(), Some("/dev/mine"));
            assert_eq!(device.cgroup_permissions.as_deref(), Some(permissions));
        }
    })
    .await;
}
