//! Checkpoint files on disk: written whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use ringfence_ipc::journal::checkpoint::{BodyWriter, CHECKPOINT_HEADER_BYTES, Checkpoint, CheckpointHeader};

const TEMPORARY: &str = "checkpoint.new";

/// Writes a checkpoint into `dir`; `save` writes its body. It has its name only when all of it is on disk.
///
/// # Errors
/// Those of the disk; nothing has its name then.
pub fn write(
    dir: &Path,
    header: &CheckpointHeader,
    save: impl FnOnce(&mut BodyWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    let temporary = dir.join(TEMPORARY);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(&[0; CHECKPOINT_HEADER_BYTES])?;
    let mut body = BodyWriter::new(file);
    save(&mut body)?;
    let (mut file, bytes, crc) = body.finish()?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&header.encode(bytes, crc))?;
    file.sync_all()?;
    std::fs::rename(&temporary, dir.join(Checkpoint::file_name(header.position)))?;
    File::open(dir)?.sync_all()
}

/// Removes every checkpoint in `dir` except those at these positions.
///
/// # Errors
/// Those of the disk.
pub fn keep_only(dir: &Path, positions: &[u64]) -> io::Result<()> {
    for position in Checkpoint::list(dir)?.into_iter().filter(|position| !positions.contains(position)) {
        std::fs::remove_file(dir.join(Checkpoint::file_name(position)))?;
    }
    Ok(())
}
