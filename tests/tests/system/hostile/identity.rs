//! Names, tickets, keys and users: who may be whom.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use ringfence_ipc::client::{AttachError, Client};
use ringfence_ipc::handshake::{Hello, RefusalCode, Role};
use ringfence_tests::raw::{Raw, hello};
use ringfence_tests::world::{PATIENCE, World, anybody};
use ringfence_tests::{await_that, skipped};

use super::Scene;

#[test]
fn two_clients_of_the_same_name() {
    let scene = Scene::new();
    let first = scene.world.attach("same");
    let second = Client::attach(scene.world.options("same"));
    assert!(matches!(second, Err(AttachError::Refused { code: RefusalCode::NameTaken, .. })));
    assert!(first.is_connected());
    drop(first);
    drop(scene.world.attach("same"));
    scene.ends_with_quarantines(0);
}

#[test]
fn a_stale_ticket_is_refused() {
    let scene = Scene::new();
    let path = scene.world.config.socket_path();
    let first = scene.world.attach("resumer");
    let stale = first.ticket();
    drop(first);
    let second = scene.world.attach("resumer");
    let newest = second.ticket();
    drop(second);
    let try_with = |ticket| {
        let mut outcome = None;
        await_that("the name is free", PATIENCE, || {
            let hello = Hello { ticket: Some(ticket), ..hello(Role::Strategy, "resumer") };
            let begun = Raw::begin(&path, &hello).map(drop).map_err(|(code, _)| code);
            let taken = begun == Err(RefusalCode::NameTaken);
            outcome = Some(begun);
            !taken
        });
        outcome.unwrap()
    };
    assert_eq!(try_with(stale), Err(RefusalCode::Ticket));
    assert_eq!(try_with(newest), Ok(()));
    scene.ends_with_quarantines(0);
}

#[test]
fn a_wrong_identity_is_refused() {
    let world = World::new(|config| {
        let key_file = config.data_dir.with_file_name("key");
        let mut keyed = anybody("strategy");
        (keyed.name, keyed.key_file) = ("keyed".into(), Some(key_file));
        let mut stranger = anybody("strategy");
        stranger.name = "stranger".into();
        stranger.uid = stranger.uid.map(|uid| uid + 1);
        let mut honest = anybody("strategy");
        honest.name = "honest".into();
        config.clients = vec![keyed, stranger, honest];
    });
    let key_file = world.dir().join("key");
    std::fs::write(&key_file, [7; 32]).unwrap();
    std::fs::set_permissions(&key_file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let scene = Scene::in_world(world);
    let attempt = |role, name: &str, key| {
        let mut options = scene.world.options(name);
        (options.role, options.key) = (role, key);
        Client::attach(options).map(drop)
    };
    for (role, name, key) in [
        (Role::Strategy, "keyed", None),
        (Role::Strategy, "keyed", Some([8; 32])),
        (Role::Strategy, "stranger", None),
        (Role::Strategy, "nobody", None),
        (Role::Operator, "keyed", Some([7; 32])),
        (Role::Venue, "honest", None),
    ] {
        let refused = attempt(role, name, key);
        let identity = matches!(refused, Err(AttachError::Refused { code: RefusalCode::Identity, .. }));
        assert!(identity, "{role:?} {name} {key:?}: {refused:?}");
    }
    attempt(Role::Strategy, "keyed", Some([7; 32])).expect("the right key opens");
    scene.ends_with_quarantines(0);
}

/// A user that owns nothing here.
const STRANGER: u32 = 65_534;

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Runs the hammer as another user; it says why it was refused. Its program lies where everybody may read it.
fn attach_as_stranger(world: &World, name: &str) -> Output {
    let place = tempfile::Builder::new().prefix("ringfence-test-").tempdir_in("/dev/shm").unwrap();
    set_mode(place.path(), 0o755);
    let program = place.path().join("hammer");
    std::fs::copy(env!("CARGO_BIN_EXE_hammer"), &program).unwrap();
    set_mode(&program, 0o755);
    let socket = world.config.socket_path().display().to_string();
    let diary = place.path().join("diary").display().to_string();
    let mut command = Command::new(program);
    command.args([socket.as_str(), name, &diary, "1", "new", "0"]).current_dir("/");
    command.uid(STRANGER).gid(STRANGER).stdin(Stdio::null()).env("RUST_BACKTRACE", "0").output().unwrap()
}

#[test]
fn another_user_is_kept_out_by_the_directory_and_then_by_the_list() {
    const NAME: &str = "another_user_is_kept_out_by_the_directory_and_then_by_the_list";
    if !rustix::process::getuid().is_root() {
        return skipped(NAME, "only root can be somebody else");
    }
    let world = World::new(|config| {
        let mut welcome = anybody("strategy");
        (welcome.name, welcome.uid) = ("welcome".into(), Some(STRANGER));
        config.clients.push(welcome);
    });
    let scene = Scene::in_world(world);
    let (run_dir, socket) = (&scene.world.config.run_dir, scene.world.config.socket_path());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(run_dir), mode(&socket)), (0o750, 0o660));
    let shut_out = attach_as_stranger(&scene.world, "hammer");
    let said = String::from_utf8_lossy(&shut_out.stderr).into_owned();
    assert!(!shut_out.status.success() && said.contains("Permission denied"), "{said}");

    // Whoever is let in to the socket is asked for the list all the same.
    set_mode(run_dir, 0o755);
    set_mode(&socket, 0o666);
    let refused = attach_as_stranger(&scene.world, "hammer");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    let typed = said.contains(&format!("uid {STRANGER} may not attach as Strategy `hammer`"));
    assert!(!refused.status.success() && typed, "{said}");

    // The one name this user may have: it attaches, and only then misses its diary.
    let attached = attach_as_stranger(&scene.world, "welcome");
    let said = String::from_utf8_lossy(&attached.stderr).into_owned();
    assert!(said.contains("a diary is there") && !said.contains("may not attach"), "{said}");
    scene.ends_with_quarantines(0);
}
