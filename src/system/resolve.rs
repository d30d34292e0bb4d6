//! Resolves paths one name at a time, and tells who else can change where they lead.
//!
//! A user who owns a directory of a path can put a symbolic link in the place of any name in it. From the first directory or
//! link on that another user can change, no link is followed: a process with more rights would write where that link leads.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags, fstatfs, fstatvfs, openat, readlinkat};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid};

/// The first object on a path that another user than root and ours can change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposure {
    path: PathBuf,
    by: By,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum By {
    User(u32),
    Group(u32, u32),
    Everybody(u32),
    FileSystem,
}

impl fmt::Display for Exposure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.by {
            By::User(user) => write!(f, "{path} belongs to user {user}"),
            By::Group(group, mode) => write!(f, "group {group} can write {path} (mode {mode:04o})"),
            By::Everybody(mode) => write!(f, "every user can write {path} (mode {mode:04o})"),
            By::FileSystem => write!(
                f,
                "{path} is in a FUSE file system, whose program says who owns what"
            ),
        }
    }
}

/// A symbolic link, or `..`, that another user may have placed.
#[derive(Debug, thiserror::Error)]
#[error("{} is a symbolic link that another user may have placed: {exposure}", link.display())]
pub struct UnsafeLink {
    link: PathBuf,
    exposure: Exposure,
}

/// Opens a directory, as a place for `openat(2)` and the like, without following a link that another user may have placed.
/// Blocks.
///
/// The error of such a link contains an [`UnsafeLink`]. Also returns by what other users can place links in the directory.
pub fn open_directory(path: &Path) -> io::Result<(File, Option<Exposure>)> {
    let (directory, exposure) = resolve(path, Links::Safe)?;
    let found = directory.metadata()?;
    if !found.is_dir() {
        return Err(Errno::NOTDIR.into());
    }
    let exposure = exposure.or_else(|| shared(path, &found));
    Ok((directory, exposure))
}

/// Returns the first object by which another user than root and ours can change what is at a path; nothing also if it cannot
/// be resolved. Blocks.
pub fn exposure(path: &Path) -> Option<Exposure> {
    resolve(path, Links::All).ok()?.1
}

/// Which symbolic links are followed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Links {
    Safe,
    All,
}

fn resolve(path: &Path, links: Links) -> io::Result<(File, Option<Exposure>)> {
    let path = std::path::absolute(path)?;
    let mut place = PathBuf::from("/");
    let mut here = open(CWD, "/".as_ref(), OFlags::DIRECTORY)?;
    let root = here.metadata()?;
    let trust = Trust::new(&root);
    let mut exposure = trust.exposure(&place, &root);
    let mut parent = root.clone();
    let mut rest = names(&path);
    let mut followed = 0;
    while let Some(name) = rest.pop() {
        let at = place.join(&name);
        let refuse = |exposure: Option<Exposure>| match (links, exposure) {
            (Links::Safe, Some(exposure)) => {
                let link = at.clone();
                Err(io::Error::other(UnsafeLink { link, exposure }))
            }
            _ => Ok(()),
        };
        if name == ".." {
            // A directory that was moved has another parent.
            refuse(exposure.clone())?;
        }
        // With DIRECTORY, because only that mounts what autofs has there.
        let next = match open(&here, &name, OFlags::DIRECTORY) {
            Err(error) if is_not_directory(&error) => open(&here, &name, OFlags::empty()),
            opened => opened,
        }?;
        let found = next.metadata()?;
        if exposure.is_none() {
            // Nobody writes to a mounted ConfigMap, though its mode permits it.
            let is_writable = || links == Links::Safe || !is_read_only(&next);
            let exposed = trust.exposure(&at, &found);
            exposure = exposed.filter(|it| matches!(it.by, By::User(_)) || is_writable());
            if links == Links::Safe && exposure.is_none() && is_foreign_fuse(&next, &found, &root) {
                let (path, by) = (at.clone(), By::FileSystem);
                exposure = Some(Exposure { path, by });
            }
        }
        if found.is_symlink() {
            refuse(exposure.clone().or_else(|| shared(&place, &parent)))?;
            followed += 1;
            if followed > MAX_LINKS {
                return Err(Errno::LOOP.into());
            }
            let target = readlinkat(&next, "", Vec::new())?.into_bytes();
            let target = PathBuf::from(OsString::from_vec(target));
            if target.is_absolute() {
                place = PathBuf::from("/");
                here = open(CWD, "/".as_ref(), OFlags::DIRECTORY)?;
                parent = root.clone();
            }
            rest.extend(names(&target));
        } else {
            (here, place, parent) = (next, at, found);
        }
    }
    Ok((here, exposure))
}

/// Opens a name without following it and without reading what is there.
fn open(directory: impl rustix::fd::AsFd, name: &OsStr, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(directory, name, flags, Mode::empty())?.into())
}

fn is_not_directory(error: &io::Error) -> bool {
    [Errno::NOTDIR, Errno::LOOP].contains(&Errno::from_io_error(error).unwrap_or(Errno::IO))
}

/// Returns how others can place links in a sticky directory: there they move links that root has made elsewhere for them.
fn shared(path: &Path, directory: &Metadata) -> Option<Exposure> {
    let mode = directory.mode() & 0o7777;
    let path = path.to_owned();
    (mode & 0o022 != 0 && mode & 0o1000 != 0).then_some(Exposure {
        path,
        by: By::Everybody(mode),
    })
}

/// Whether an object is in a FUSE file system, where a program of any user decides who owns what. That of the root directory
/// is the container's.
fn is_foreign_fuse(file: &File, found: &Metadata, root: &Metadata) -> bool {
    found.dev() != root.dev() && fstatfs(file).is_ok_and(|it| u64::try_from(it.f_type) == Ok(FUSE))
}

fn is_read_only(file: &File) -> bool {
    fstatvfs(file).is_ok_and(|found| found.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// Returns the names of a path, the last one first.
fn names(path: &Path) -> Vec<OsString> {
    let name = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    path.components().rev().filter_map(name).collect()
}

/// The users and groups that may change where a path leads.
struct Trust {
    users: [u32; 3],
    groups: [u32; 2],
}

impl Trust {
    fn new(root: &Metadata) -> Self {
        Self {
            // In a user namespace, the real root may have another number: that of the owner of the root directory.
            users: [0, geteuid().as_raw(), root.uid()],
            groups: [0, getegid().as_raw()],
        }
    }

    /// Returns how another user can change an object: what it is, or where the names in it lead.
    fn exposure(&self, path: &Path, found: &Metadata) -> Option<Exposure> {
        let mode = found.mode() & 0o7777;
        let is_sticky = found.is_dir() && mode & 0o1000 != 0;
        let by = if !self.users.contains(&found.uid()) {
            By::User(found.uid())
        } else if is_sticky || found.is_symlink() {
            return None;
        } else if mode & 0o002 != 0 {
            By::Everybody(mode)
        } else if mode & 0o020 != 0 && !self.groups.contains(&found.gid()) {
            By::Group(found.gid(), mode)
        } else {
            return None;
        };
        let path = path.to_owned();
        Some(Exposure { path, by })
    }
}

/// `FUSE_SUPER_MAGIC` of the kernel.
const FUSE: u64 = 0x6573_5546;

/// As many as the kernel follows.
const MAX_LINKS: usize = 40;

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    use super::*;

    /// Makes `home`, `root` and links between them, in a directory that no other user can change.
    fn tree() -> PathBuf {
        let base = crate::testing::directory("resolve").canonicalize().unwrap();
        for name in ["home", "home/inner", "private"] {
            fs::create_dir(base.join(name)).unwrap();
        }
        symlink(base.join("private"), base.join("link")).unwrap();
        symlink("../private", base.join("home/link")).unwrap();
        symlink("loop", base.join("loop")).unwrap();
        base
    }

    fn inode(file: &File) -> u64 {
        file.metadata().unwrap().ino()
    }

    #[test]
    fn links_of_root_and_of_this_user_are_followed() {
        let base = tree();
        let private = fs::metadata(base.join("private")).unwrap().ino();
        for path in ["private", "link", "home/link", "home/../link/.", "link//"] {
            let (opened, exposure) = open_directory(&base.join(path)).unwrap();
            assert_eq!((inode(&opened), exposure), (private, None), "{path}");
        }
        assert_eq!(
            inode(&open_directory(Path::new("/")).unwrap().0),
            fs::metadata("/").unwrap().ino()
        );
    }

    #[test]
    fn missing_looping_and_irregular_paths_have_the_errors_of_the_kernel() {
        let base = tree();
        fs::write(base.join("file"), "").unwrap();
        for (path, error) in [
            ("missing", Errno::NOENT),
            ("loop/x", Errno::LOOP),
            ("file", Errno::NOTDIR),
            ("file/x", Errno::NOTDIR),
        ] {
            let found = open_directory(&base.join(path)).unwrap_err();
            assert_eq!(Errno::from_io_error(&found), Some(error), "{path}");
        }
    }

    #[test]
    fn a_link_below_what_another_user_can_change_is_refused() {
        let base = tree();
        let home = base.join("home");
        let mut exposed = vec![(0o777, None), (0o757, None)];
        if geteuid().is_root() {
            exposed.extend([(0o700, Some(4001)), (0o1777, Some(4001))]);
        } else {
            crate::testing::skipped("root");
        }
        for (mode, user) in exposed {
            fs::set_permissions(&home, Permissions::from_mode(mode)).unwrap();
            chown(&home, user, None).unwrap();
            for path in ["home/link", "home/inner/../link", "home/inner/.."] {
                let refusal = open_directory(&base.join(path)).unwrap_err();
                assert!(refusal.get_ref().unwrap().is::<UnsafeLink>(), "{path}");
                let named = format!("{}", home.display());
                assert!(refusal.to_string().contains(&named), "{refusal}");
            }
            open_directory(&base.join("home/inner")).unwrap();
        }
        // Nobody replaces a link of root's in a sticky directory, but everybody can move one there.
        chown(&home, Some(geteuid().as_raw()), None).unwrap();
        fs::set_permissions(&home, Permissions::from_mode(0o1777)).unwrap();
        open_directory(&home.join("link")).unwrap_err();
        let (_, exposure) = open_directory(&home.join("inner")).unwrap();
        assert_eq!(exposure, None);
        let (_, exposure) = open_directory(&home).unwrap();
        assert!(exposure.is_some());
    }

    #[test]
    fn whoever_can_write_a_file_or_a_directory_of_its_path_is_named() {
        let base = tree();
        let file = base.join("private/file");
        fs::write(&file, "").unwrap();
        let exposed = |path: &str| exposure(&base.join(path)).map(|found| found.to_string());
        assert_eq!(exposed("link/file"), None);
        assert_eq!(exposed("missing"), None);
        fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
        let expected = format!("every user can write {} (mode 0666)", file.display());
        assert_eq!(exposed("link/file"), Some(expected));
        fs::set_permissions(base.join("home"), Permissions::from_mode(0o777)).unwrap();
        let home = base.join("home");
        let expected = format!("every user can write {} (mode 0777)", home.display());
        assert_eq!(exposed("home/link/file"), Some(expected));
    }
}
