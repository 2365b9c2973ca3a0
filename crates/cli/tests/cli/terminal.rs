//! A terminal, and who sits at it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use testkit::eventually;

use crate::stage::PATIENCE;

/// A terminal as its user sees it.
pub struct Terminal {
    keyboard: File,
    screen: Arc<Mutex<String>>,
}

impl Terminal {
    /// A terminal, and the file by which a program uses it.
    pub fn open() -> (Self, File) {
        let ours =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&ours).and_then(|()| unlockpt(&ours)).expect("a terminal to use");
        let name = ptsname(&ours, Vec::new()).expect("it has a name");
        let name = Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()));
        // The terminal of a test must not become the one of the whole test run.
        let flags = i32::try_from(OFlags::NOCTTY.bits()).expect("a small number");
        let theirs =
            OpenOptions::new().read(true).write(true).custom_flags(flags).open(name).expect("it opens");
        let keyboard = File::from(ours);
        let mut output = keyboard.try_clone().expect("another handle");
        let screen = Arc::new(Mutex::new(String::new()));
        let shown = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut bytes = [0; 1024];
            // Reading fails when nobody uses the terminal any more.
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..count]).replace("\r\n", "\n");
                shown.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
            }
        });
        (Self { keyboard, screen }, theirs)
    }

    /// Everything that was on the screen.
    pub fn text(&self) -> String {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the screen ends with `text`, and returns all of it.
    pub async fn shows(&self, text: &str) -> String {
        eventually(PATIENCE, || async {
            let shown = self.text();
            if shown.ends_with(text) { Ok(shown) } else { Err(shown) }
        })
        .await
    }

    /// Waits until what is typed is shown, or is not shown.
    pub async fn echoes(&self, echoes: bool) {
        eventually(PATIENCE, || async {
            let modes = tcgetattr(&self.keyboard).expect("it is a terminal").local_modes;
            if modes.contains(LocalModes::ECHO) == echoes { Ok(()) } else { Err(format!("{modes:?}")) }
        })
        .await;
    }

    /// Types a line.
    pub fn types(&mut self, line: &str) {
        writeln!(self.keyboard, "{line}").expect("somebody can type");
    }
}
