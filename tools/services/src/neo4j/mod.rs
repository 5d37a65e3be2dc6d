//! Neo4j Community: one server on Bolt, without logins, HTTP or a cluster.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::jars::Jars;
use crate::node::{self, Node};
use crate::port;

/// Neo4j's version, as `pom.xml` has it.
pub const VERSION: &str = "5.26.22";
const JARS: Jars = Jars { name: "Neo4j", version: VERSION, pom: include_str!("pom.xml"), files: &[] };
/// Where a port is looked for.
pub const FIRST_PORT: u16 = 17_687;
/// How long it may take to serve; five seconds on a machine at rest.
const PATIENCE: Duration = Duration::from_secs(120);
const STOP_PATIENCE: Duration = Duration::from_secs(30);
const BOLT_PATIENCE: Duration = Duration::from_secs(10);
/// What the kernel of the database reaches into, and what keeps it small: 384 MB of heap, 128 MB beside it and 64 MB of pages
/// at most.
const JAVA: &[&str] = &[
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/java.io=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-opens=java.base/java.util.concurrent=ALL-UNNAMED",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "-Dlog4j2.disable.jmx=true",
    "-Dio.netty.tryReflectionSetAccessible=true",
    "-Djava.awt.headless=true",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:MaxDirectMemorySize=128m",
    "-Xms128m",
    "-Xmx384m",
];

/// The folder with the jars; brings them when they are not there yet.
///
/// # Errors
/// What is missing, and how to get it.
pub fn jars() -> Result<PathBuf, String> {
    JARS.find()
}

/// A server that lives and dies with this value.
#[derive(Debug)]
pub struct Server {
    jars: PathBuf,
    dir: PathBuf,
    port: u16,
    node: Option<Node>,
}

impl Server {
    /// Brings the jars, sets the server up in `dir`, starts it and waits until Bolt answers. `dir` must be empty or hold what
    /// an earlier call left.
    ///
    /// # Errors
    /// What is missing or went wrong, and what to do.
    pub fn start(dir: &Path, first_port: u16) -> Result<Self, String> {
        let jars = jars()?;
        let port = port::free(1, first_port)?[0];
        let mut server = Self { jars, dir: dir.to_owned(), port, node: None };
        let conf = dir.join("conf");
        let cannot = |error: std::io::Error| format!("{}: {error}", conf.display());
        std::fs::create_dir_all(&conf).map_err(cannot)?;
        std::fs::write(conf.join("neo4j.conf"), server.settings()).map_err(cannot)?;
        server.restart()?;
        Ok(server)
    }

    /// Where it serves.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("bolt://127.0.0.1:{}", self.port)
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.node.as_ref().map(Node::pid)
    }

    /// Kills it as a crash would; its data stays.
    pub fn kill(&mut self) {
        if let Some(mut node) = self.node.take() {
            node.kill();
        }
    }

    /// Starts it again, after a kill or without one, and waits until Bolt answers.
    ///
    /// # Errors
    /// What it said last.
    pub fn restart(&mut self) -> Result<(), String> {
        self.kill();
        let home = self.dir.display();
        let mut command = Command::new("java");
        command
            .args(JAVA)
            .arg("-cp")
            .arg(self.jars.join("lib/*"))
            .arg("org.neo4j.server.CommunityEntryPoint");
        command
            .arg(format!("--home-dir={home}"))
            .arg(format!("--config-dir={home}/conf"))
            .arg("--console-mode");
        let mut node = Node::start(command, &self.dir, "Started.", PATIENCE)?;
        if let Err(why) = bolt_answers(self.port) {
            node.kill();
            return Err(format!(
                "Neo4j says that it serves, but Bolt on port {} does not answer: {why}",
                self.port
            ));
        }
        self.node = Some(node);
        Ok(())
    }

    /// Leaves the server running; [`stop`] ends it.
    pub fn leave(mut self) {
        drop(self.node.take());
    }

    fn settings(&self) -> String {
        let port = self.port;
        format!(
            "server.default_listen_address=127.0.0.1\n\
             server.bolt.enabled=true\n\
             server.bolt.listen_address=127.0.0.1:{port}\n\
             server.bolt.advertised_address=127.0.0.1:{port}\n\
             server.bolt.connection_keep_alive=5s\n\
             server.http.enabled=false\n\
             server.https.enabled=false\n\
             dbms.security.auth_enabled=false\n\
             dbms.usage_report.enabled=false\n\
             server.memory.pagecache.size=64m\n\
             db.tx_log.preallocate=false\n\
             db.tx_log.rotation.size=16m\n\
             db.tx_log.rotation.retention_policy=1 files\n"
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Bolt's greeting and four versions of it; the answer is the one that the server takes, or zeros.
fn bolt_answers(port: u16) -> Result<(), String> {
    const HELLO: [u8; 20] = [0x60, 0x60, 0xb0, 0x17, 0, 8, 8, 5, 0, 0, 0, 5, 0, 0, 4, 4, 0, 0, 0, 0];
    let greet = || -> std::io::Result<[u8; 4]> {
        let mut socket =
            TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), BOLT_PATIENCE)?;
        socket.set_read_timeout(Some(BOLT_PATIENCE))?;
        socket.write_all(&HELLO)?;
        let mut taken = [0; 4];
        socket.read_exact(&mut taken)?;
        Ok(taken)
    };
    match greet() {
        Ok([0, 0, 0, 0]) => Err("it takes none of Bolt 4.4 and 5.0 to 5.8".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Stops the server in `dir` that another process left running. `false`: none ran.
///
/// # Errors
/// When it does not end.
pub fn stop(dir: &Path) -> Result<bool, String> {
    node::stop(dir, STOP_PATIENCE)
}

/// Whether the server in `dir` runs.
#[must_use]
pub fn runs(dir: &Path) -> bool {
    node::running(dir).is_some()
}
