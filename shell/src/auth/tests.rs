//! Sessions, keys and roles on a real store.
