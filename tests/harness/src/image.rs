//! An ext4 file system in a file, whose power can be cut.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::process::{self, NoChildren};
use crate::wait::PATIENCE;

/// `EXT4_IOC_SHUTDOWN`: stops the file system at once, as a power cut stops everything above the disk.
const EXT4_IOC_SHUTDOWN: rustix::ioctl::Opcode = rustix::ioctl::opcode::read::<u32>(b'X', 125);

/// Nothing more is written, and the journal in memory is lost.
const NO_LOG_FLUSH: u32 = 2;

/// An image, mounted until it is dropped.
#[derive(Debug)]
pub struct Image {
    file: PathBuf,
    mount_point: PathBuf,
    /// Removed after the image is unmounted.
    _directory: TempDir,
}

impl Image {
    /// Makes a file system of `bytes` and mounts it, in a new directory below this one.
    ///
    /// # Errors
    /// What is missing on this machine, in words.
    pub fn mount_new(parent: &Path, bytes: u64) -> Result<Self, String> {
        let directory = tempfile::tempdir_in(parent).map_err(|error| error.to_string())?;
        let file = directory.path().join("image");
        File::create(&file)
            .and_then(|file| file.set_len(bytes))
            .map_err(|error| error.to_string())?;
        run(Command::new("mkfs.ext4").arg("-q").arg(&file))?;
        let mount_point = directory.path().join("mounted");
        std::fs::create_dir(&mount_point).map_err(|error| error.to_string())?;
        mount(&file, &mount_point)?;
        Ok(Self {
            file,
            mount_point,
            _directory: directory,
        })
    }

    pub fn path(&self) -> &Path {
        &self.mount_point
    }

    /// A handle to cut the power with: opening it takes time that the cut must not wait for.
    pub fn switch(&self) -> Switch {
        let no_children = process::no_children();
        Switch {
            root: File::open(&self.mount_point).expect("a mounted file system opens"),
            _no_children: no_children,
        }
    }

    /// Mounts the image after a cut. No process may have a file open.
    pub fn mount_again(&self) {
        self.mount_again_within(Duration::ZERO);
    }

    /// As [`mount_again`](Image::mount_again), but waits until a killed process has closed its files.
    pub fn mount_again_within(&self, patience: Duration) {
        let started = Instant::now();
        loop {
            while let Err(reason) = run(Command::new("umount").arg(&self.mount_point)) {
                if started.elapsed() >= patience {
                    let holders = holders(&self.mount_point).join("\n");
                    panic!("{reason}; in use by:\n{holders}");
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            mount(&self.file, &self.mount_point).expect("a file system survives that its power is cut");
            if self.takes_changes() {
                return;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "the file system stays as it was cut"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A process that has just made a mount namespace has all mounts once more, also this one. Until it ends, the file
    /// system that was cut is the one that is mounted.
    fn takes_changes(&self) -> bool {
        let probe = self.mount_point.join("probe");
        let changed = std::fs::create_dir(&probe).and_then(|()| std::fs::remove_dir(&probe));
        changed.map_or_else(|error| error.kind() == ErrorKind::StorageFull, |()| true)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let is_gone = run(Command::new("umount").arg(&self.mount_point)).is_ok();
        if !is_gone {
            // A test that failed may still have files open; the loop device is removed with the last of them.
            let _ = run(Command::new("umount").arg("--lazy").arg(&self.mount_point));
        }
    }
}

/// Cuts the power.
#[derive(Debug)]
pub struct Switch {
    root: File,
    /// Dropped after the file.
    _no_children: NoChildren,
}

impl Switch {
    pub fn cut(self) {
        // SAFETY: the opcode is that of ext4, which reads one `u32` through the pointer and keeps nothing of it.
        let request = unsafe { rustix::ioctl::Setter::<EXT4_IOC_SHUTDOWN, u32>::new(NO_LOG_FLUSH) };
        // SAFETY: as above; the file is a directory of an ext4 file system.
        unsafe { rustix::ioctl::ioctl(&self.root, request) }.expect("ext4 takes EXT4_IOC_SHUTDOWN");
    }
}

fn mount(file: &Path, mount_point: &Path) -> Result<(), String> {
    run(Command::new("mount")
        .args(["-t", "ext4", "-o", "loop"])
        .arg(file)
        .arg(mount_point))
}

/// The processes that keep a file system from being unmounted, as far as `/proc` shows them.
fn holders(mount_point: &Path) -> Vec<String> {
    let mut holders = Vec::new();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes.map(|entry| entry.path()) {
        let open = std::fs::read_dir(process.join("fd"))
            .into_iter()
            .flatten()
            .flatten();
        let links = open
            .map(|entry| entry.path())
            .chain(["cwd", "root", "exe"].map(|name| process.join(name)));
        for link in links {
            if let Ok(target) = std::fs::read_link(&link)
                && target.starts_with(mount_point)
            {
                holders.push(format!("{} -> {}", link.display(), target.display()));
            }
        }
        let maps = std::fs::read_to_string(process.join("maps")).unwrap_or_default();
        if maps.contains(&*mount_point.to_string_lossy()) {
            holders.push(format!("{} maps a file of it", process.display()));
        }
    }
    holders
}

fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().display().to_string();
    let output = process::output(command).map_err(|error| format!("{program}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "{program}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}
