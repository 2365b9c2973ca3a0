//! The contract. Each case runs on the fake and on the real engine.

use crate::subject::Subject;
use plugin_coordinator::engine::{Container, NetworkSpec, Owner, UploadFile};
use std::collections::BTreeMap;
use std::time::Duration;
use testkit::eventually;

const GRACE: Duration = Duration::from_secs(20);
const SOON: Duration = Duration::from_secs(30);

/// Makes two tests of each case.
macro_rules! contract {
    ($($case:ident)*) => {
        mod fake { $(
            #[tokio::test]
            async fn $case() {
                super::$case(&crate::subject::Fake::new()).await;
            }
        )* }
        mod docker { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                crate::subject::Real::test(|real| async move { super::$case(&*real).await }).await;
            }
        )* }
    };
}

mod images;
mod life;
mod resources;
mod tampering;
mod watching;

async fn inspect(subject: &dyn Subject, container: &str) -> Container {
    subject.engine().inspect(container).await.expect("an answer").expect("the container is there")
}

async fn exited(subject: &dyn Subject, container: &str) -> Container {
    eventually(SOON, || async {
        let found = inspect(subject, container).await;
        if found.state.exit().is_some() { Ok(found) } else { Err(format!("{:?}", found.state)) }
    })
    .await
}

fn network(name: String) -> NetworkSpec {
    NetworkSpec { name, internal: false, masquerade: true, icc: true, labels: BTreeMap::new() }
}

fn file(path: &str, bytes: &[u8], uid: u32) -> UploadFile {
    UploadFile { path: path.into(), bytes: bytes.into(), owner: Owner { uid, gid: uid }, mode: 0o400 }
}
