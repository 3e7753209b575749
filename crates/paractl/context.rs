//! Which cluster a command speaks to, and how: the configuration file and the command line together.
//!
//! **Never:** guesses: a context that is not there, or lacks a key that is needed, is an error that names
//! the file and the key.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs, io};

use paravon_client::{Client, ClientOptions, Consistency, InvalidKey, Key, ServerOrder, TlsFiles};

use crate::args::Global;
use crate::error::Error;
use crate::paraconf::{KeyEncoding, Paraconf, Section};
use crate::typed;

/// Which of a node's two ports a command speaks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    /// The client port: `server`.
    Data,
    /// The peer port: `admin`.
    Admin,
}

/// A configuration file that has been read.
#[derive(Debug)]
pub(crate) struct File {
    /// Where it lies.
    pub(crate) path: PathBuf,
    /// Its text, for edits.
    pub(crate) text: String,
    /// What it says.
    pub(crate) paraconf: Paraconf,
}

/// What a command needs to know about its cluster.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    servers: Vec<String>,
    tls: TlsFiles,
    client_id: String,
    timeout: Duration,
    namespace: String,
    /// How many replicas must answer.
    pub(crate) consistency: Consistency,
    /// How keys and values travel.
    pub(crate) key_encoding: KeyEncoding,
}

impl File {
    /// Reads the file that `global` or the environment names.
    pub(crate) fn load(global: &Global) -> Result<Self, Error> {
        // Not left to clap: in the shell the variable would hide what the shell was started with.
        let named = global.paraconf.clone().or_else(|| variable("PARACONF"));
        let path = match named {
            Some(path) => path,
            None => home().ok_or(Error::NoHome)?.join(".para/paraconf.yaml"),
        };
        let text = fs::read_to_string(&path)
            .map_err(|source| Error::Unreadable { path: path.clone(), source })?;
        let paraconf = Paraconf::parse(&text)
            .map_err(|source| Error::Configuration { path: path.clone(), source })?;
        Ok(Self { path, text, paraconf })
    }

    /// The names of all contexts, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        self.paraconf.contexts.keys().cloned().collect()
    }

    /// The context that `global` chooses, else the current one.
    pub(crate) fn choose(&self, global: &Global) -> Result<(&str, &Section), Error> {
        let chosen = global.context.as_ref().or(self.paraconf.current_context.as_ref());
        let name = chosen.ok_or_else(|| Error::NoCurrentContext {
            path: self.path.clone(),
            known: self.names(),
        })?;
        let found = self.paraconf.contexts.get_key_value(name);
        found.map(|(name, section)| (name.as_str(), section)).ok_or_else(|| Error::NoContext {
            path: self.path.clone(),
            name: name.clone(),
            known: self.names(),
        })
    }
}

impl Context {
    /// The context of a command that speaks to `port`.
    pub(crate) fn load(global: &Global, port: Port) -> Result<Self, Error> {
        let file = File::load(global)?;
        let places = Places::of(&file.path)
            .map_err(|source| Error::Unreadable { path: file.path.clone(), source })?;
        Self::resolve(&file, global, port, &places)
    }

    fn resolve(file: &File, global: &Global, port: Port, places: &Places) -> Result<Self, Error> {
        let (name, section) = file.choose(global)?;
        let missing = |key: &str| Error::Missing {
            path: file.path.clone(),
            key: format!("contexts.{name}.{key}"),
        };
        let (configured, key) = match port {
            Port::Data => (&section.servers, "server"),
            Port::Admin => (&section.admin, "admin"),
        };
        let servers = if global.server.is_empty() { configured } else { &global.server };
        if servers.is_empty() {
            return Err(missing(key));
        }
        let tls_file = |value: &Option<String>, key| {
            value.as_ref().map(|text| places.resolve(text)).ok_or_else(|| missing(key))
        };
        let tls = TlsFiles {
            certfile: tls_file(&section.cert, "tls.cert")?,
            keyfile: tls_file(&section.key, "tls.key")?,
            cafile: tls_file(&section.ca, "tls.ca")?,
            crlfile: None,
        };
        Ok(Self {
            servers: servers.clone(),
            tls,
            client_id: section.client_id.clone().unwrap_or_else(|| "paractl".to_owned()),
            timeout: global.timeout.or(section.timeout).unwrap_or(Duration::from_secs(5)),
            namespace: global.namespace.clone().unwrap_or(Key::DEFAULT_NAMESPACE.to_owned()),
            consistency: global.consistency.unwrap_or_default(),
            key_encoding: section.key_encoding,
        })
    }

    /// The servers that requests go to.
    pub(crate) fn servers(&self) -> &[String] {
        &self.servers
    }

    /// This context with one of its servers, for each of them.
    pub(crate) fn each_server(&self) -> impl Iterator<Item = Self> {
        self.servers.iter().map(|server| Self { servers: vec![server.clone()], ..self.clone() })
    }

    /// This context with another deadline of requests.
    pub(crate) fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// A client for somebody who waits at a terminal: every server once, and twice more in case one just
    /// restarts.
    pub(crate) fn client(&self) -> Result<Client, Error> {
        let mut options = self.options(0);
        let attempts = u32::try_from(self.servers.len()).unwrap_or(u32::MAX).saturating_add(2);
        options.max_attempts = attempts;
        Ok(Client::new(options)?)
    }

    /// A client that tries once: for requests that the server itself takes its time for.
    pub(crate) fn client_of_one_attempt(&self) -> Result<Client, Error> {
        let mut options = self.options(0);
        options.max_attempts = 1;
        Ok(Client::new(options)?)
    }

    /// A client that begins with the server of index `first`, has at most `depth` requests in flight and
    /// shows every failure.
    pub(crate) fn bench_client(&self, first: usize, depth: usize) -> Result<Client, Error> {
        let mut options = self.options(first);
        options.max_attempts = 1;
        options.max_in_flight = depth;
        Ok(Client::new(options)?)
    }

    fn options(&self, first: usize) -> ClientOptions {
        let mut servers = self.servers.clone();
        servers.rotate_left(first % self.servers.len().max(1));
        let mut options = ClientOptions::new(servers, self.tls.clone());
        options.order = ServerOrder::Listed;
        options.client_id.clone_from(&self.client_id);
        options.program = concat!("paractl ", env!("CARGO_PKG_VERSION")).to_owned();
        options.timeout = self.timeout;
        options.connect_timeout = self.timeout.min(Duration::from_secs(2));
        options
    }

    /// The key that was typed, as it travels.
    pub(crate) fn key(&self, typed: &str) -> Result<Key, Error> {
        self.key_of_bytes(&typed::encode_key(typed, self.key_encoding)).map_err(Error::Key)
    }

    /// A key of these bytes in the command's namespace.
    pub(crate) fn key_of_bytes(&self, bytes: &[u8]) -> Result<Key, InvalidKey> {
        Key::new(&self.namespace, bytes)
    }
}

/// The caller's home directory, where it is known.
pub(crate) fn home() -> Option<PathBuf> {
    variable("HOME")
}

fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value: &OsString| !value.is_empty()).map(PathBuf::from)
}

/// The places from which a path in the file can start.
struct Places {
    home: Option<PathBuf>,
    working: PathBuf,
    folder: PathBuf,
}

impl Places {
    fn of(file: &Path) -> io::Result<Self> {
        let full = std::path::absolute(file)?;
        let folder = full.parent().unwrap_or(&full).to_owned();
        Ok(Self { home: home(), working: env::current_dir()?, folder })
    }

    /// `~` is the home directory; a relative path is looked for from the working directory, and where
    /// nothing is there, from the file's own folder.
    fn resolve(&self, text: &str) -> PathBuf {
        if let (Some(home), Some(rest)) = (&self.home, text.strip_prefix("~/")) {
            return home.join(rest);
        }
        let working = self.working.join(text);
        if working.exists() { working } else { self.folder.join(text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
current-context: a
contexts:
  a:
    server: [one:1, two:2]
    admin: one:6
    tls: {ca: ~/ca.crt, cert: certs/c.crt, key: /abs/c.key}
    client: {timeout: 2s}
  b:
    server: three:3
";

    fn file() -> File {
        let (path, text) = (PathBuf::from("/etc/para/paraconf.yaml"), TEXT.to_owned());
        File { path, paraconf: Paraconf::parse(&text).unwrap(), text }
    }

    fn resolve(global: &Global, port: Port) -> Result<Context, Error> {
        let places = Places {
            home: Some("/home/ada".into()),
            working: "/nowhere".into(),
            folder: "/etc/para".into(),
        };
        Context::resolve(&file(), global, port, &places)
    }

    #[test]
    fn the_command_line_comes_before_the_file_and_the_file_before_the_defaults() {
        let context = resolve(&Global::default(), Port::Data).unwrap();
        assert_eq!(context.servers, ["one:1", "two:2"]);
        assert_eq!(context.timeout, Duration::from_secs(2));
        assert_eq!(context.namespace, "default");
        let global = Global {
            server: vec!["x:9".into()],
            timeout: Some(Duration::from_secs(1)),
            ..Global::default()
        };
        let context = resolve(&global, Port::Admin).unwrap();
        assert_eq!(
            (context.servers.as_slice(), context.timeout.as_secs()),
            (&["x:9".into()][..], 1)
        );
    }

    #[test]
    fn paths_start_at_home_the_working_directory_or_the_files_folder() {
        let tls = resolve(&Global::default(), Port::Data).unwrap().tls;
        assert_eq!(tls.cafile, Path::new("/home/ada/ca.crt"));
        assert_eq!(tls.certfile, Path::new("/etc/para/certs/c.crt"));
        assert_eq!(tls.keyfile, Path::new("/abs/c.key"));
    }

    #[test]
    fn what_is_missing_is_named_with_the_file() {
        assert_eq!(resolve(&Global::default(), Port::Admin).unwrap().servers, ["one:6"]);
        let b = Global { context: Some("b".into()), ..Global::default() };
        let error = resolve(&b, Port::Admin).unwrap_err().to_string();
        assert_eq!(error, "/etc/para/paraconf.yaml: contexts.b.admin is missing; add it");
        let error = resolve(&b, Port::Data).unwrap_err().to_string();
        assert!(error.contains("contexts.b.tls.cert is missing"), "{error}");
        let c = Global { context: Some("c".into()), ..Global::default() };
        let error = resolve(&c, Port::Data).unwrap_err().to_string();
        assert!(error.contains("no context c; there are a, b"), "{error}");
    }
}
