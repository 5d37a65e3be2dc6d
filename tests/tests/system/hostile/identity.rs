//! Names, tickets and keys: who may be whom.

use ringfence_ipc::client::{AttachError, Client};
use ringfence_ipc::handshake::{Hello, RefusalCode, Role};
use ringfence_tests::await_that;
use ringfence_tests::raw::{Raw, hello};
use ringfence_tests::world::{PATIENCE, World, anybody};

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
