//! `mplug serve`: what can be typed, as the options of a server (`mplug_server`), its models, and its end by a signal.

mod limits;
mod log;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Args;
use mplug::checkpoint::ModelFolder;
use mplug::config::{ConfigOverrides, Task};
use mplug_server::{ModelSource, ServeOptions, Server};

use self::limits::ServeLimitArgs;
use crate::args::{EngineArgs, OptionalModelsArg};
use crate::interrupt::Interrupt;
use crate::status::Status;
use crate::web::WebArgs;
use crate::{demo, model, precision};

/// How often the end is looked for.
const LOOK: Duration = Duration::from_millis(20);

/// Caption, answer and match over HTTP, with a page for the browser
#[derive(Args, Debug)]
#[command(after_help = "\
Routes:
  GET  /                        the page
  POST /v1/caption              pictures in (bytes, form or JSON), captions out
  POST /v1/ask                  with a question: answers
  POST /v1/match                with texts: the probability of each
  POST /v1/explain              which part of the picture each word stands on
  POST /v1/chat/completions     OpenAI's form of the first two
  GET  /v1/models /livez /readyz /health /metrics /openapi.json

Safety:
  The server listens on this machine alone unless --listen says otherwise. Another address needs
  --api-key-file, MPLUG_API_KEY or --no-auth. No web address is fetched without --allow-urls.
  Without keys, clients must call the server by an address, `localhost` or a --host.

End:
  SIGTERM or Ctrl-C: /readyz answers 503, new work is refused with 503, accepted work is finished
  up to --drain-deadline; exit code 0. A second signal ends the server at once.

Examples:
  mplug serve
  mplug serve --model caption-base-zh --precision int8
  mplug serve --listen 0.0.0.0:8080 --api-key-file keys.txt
  curl --data-binary @photo.jpg -H 'content-type: image/jpeg' http://127.0.0.1:8080/v1/caption")]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    models: OptionalModelsArg,
    /// Address and port to listen at; port 0 lets the system choose
    #[arg(long, value_name = "ADDRESS:PORT", env = "MPLUG_LISTEN", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Name by which clients may call the server, besides its address and `localhost`; may be repeated, `*` allows any
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// File with API keys, one a line; requests to /v1, /api and /metrics need one
    #[arg(long, value_name = "FILE", env = "MPLUG_API_KEY_FILE")]
    api_key_file: Option<PathBuf>,
    /// API key
    #[arg(long, value_name = "KEY", env = "MPLUG_API_KEY", hide = true, hide_env_values = true)]
    api_key: Option<String>,
    /// Serve everybody who reaches the address, without a key
    #[arg(long, conflicts_with_all = ["api_key_file", "api_key"])]
    no_auth: bool,
    /// Also answer at Ollama's routes /api/generate, /api/tags and /api/version, as photo libraries call them
    #[arg(long)]
    ollama: bool,
    /// Ask the server at --listen whether it is ready and exit with 0 or 1; for health checks
    #[arg(long)]
    probe: bool,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    limits: ServeLimitArgs,
    #[command(flatten)]
    web: WebArgs,
}

/// Runs the command.
pub(crate) fn run(args: &ServeArgs) -> anyhow::Result<Status> {
    if args.probe {
        let is_ready = mplug_server::is_ready(args.listen);
        return Ok(Status::of_failures(usize::from(!is_ready.unwrap_or(false))));
    }
    let options = args.options()?;
    let is_open = options.is_open_to_all(args.listen) && !args.no_auth;
    ensure!(
        !is_open,
        "--listen {}: expected an API key for an address that other machines reach, found none; give --api-key-file FILE, \
         or --no-auth to serve everybody",
        args.listen
    );
    let models = args.sources()?;
    raise_file_limit();
    let server = Server::bind(args.listen, options)?;
    let interrupt = Interrupt::listen()?;
    let handle = server.handle();
    let look = move || {
        while !interrupt.came() {
            std::thread::sleep(LOOK);
        }
        handle.drain();
    };
    std::thread::Builder::new().spawn(look).context("cannot start the threads")?;
    let ended = server.run(models, |event| log::hear(&event))?;
    Ok(Status::of_failures(ended.lost))
}

impl ServeArgs {
    fn options(&self) -> anyhow::Result<ServeOptions> {
        #[cfg(not(feature = "urls"))]
        self.web.open(&mut [])?;
        Ok(ServeOptions {
            limits: self.limits.limits(),
            api_keys: self.api_keys()?,
            hosts: self.host.clone(),
            ollama: self.ollama,
            #[cfg(feature = "urls")]
            fetch: self.web.fetch_options()?,
            threads: self.engine.threads,
        })
    }

    fn api_keys(&self) -> anyhow::Result<Vec<String>> {
        let mut keys: Vec<String> = self.api_key.iter().filter(|key| !key.is_empty()).cloned().collect();
        if let Some(path) = &self.api_key_file {
            let text = fs::read_to_string(path)
                .with_context(|| format!("--api-key-file {}: cannot be read", path.display()))?;
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            let before = keys.len();
            keys.extend(lines.map(str::to_owned));
            ensure!(
                keys.len() > before,
                "--api-key-file {}: expected a key a line, found none",
                path.display()
            );
        }
        Ok(keys)
    }

    /// The models that were named, or the demo models.
    fn sources(&self) -> anyhow::Result<Vec<ModelSource>> {
        let size = self.engine.image_size;
        if self.models.model.is_empty() {
            demo::announce(Task::ImageCaptioning);
            ensure!(
                self.models.adapter.is_empty(),
                "--adapter: expected a --model that it was trained on, found none"
            );
            let source =
                |(task, name): (Task, &str)| Ok(self.source(name.to_owned(), demo::open(task, size)?, true));
            return [
                (Task::ImageCaptioning, "demo-caption"),
                (Task::VisualQuestionAnswering, "demo-ask"),
                (Task::ImageTextRetrieval, "demo-match"),
            ]
            .into_iter()
            .map(source)
            .collect();
        }
        let mut sources: Vec<ModelSource> = Vec::new();
        for (path, adapter) in self.models.model.iter().zip(self.models.adapters()?) {
            let overrides = ConfigOverrides { image_size: size, ..ConfigOverrides::default() };
            let folder = model::open_folder(path, &overrides, self.models.strict, adapter.as_ref())?;
            let name = name_of(path);
            if sources.iter().any(|other| other.name == name) {
                bail!("--model {}: expected models of different names, found `{name}` twice", path.display());
            }
            sources.push(self.source(name, folder, false));
        }
        Ok(sources)
    }

    fn source(&self, name: String, folder: ModelFolder, is_demo: bool) -> ModelSource {
        let options = precision::load_options(&folder, self.engine.precision);
        ModelSource { name, precision: options.precision, folder, is_demo }
    }
}

/// What clients call a model: the last part of its name or path, which says nothing of this machine.
fn name_of(path: &Path) -> String {
    let last = path.file_stem().filter(|_| path.is_file()).or_else(|| path.file_name());
    last.map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// Each connection is an open file, and the soft limit is often 1,024.
fn raise_file_limit() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        // What the system does not grant is no failure: clients then wait.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_nothing_of_the_machine() {
        assert_eq!(
            name_of(Path::new("damo/mplug_image-captioning_coco_base_zh")),
            "mplug_image-captioning_coco_base_zh"
        );
        assert_eq!(name_of(Path::new("/home/me/models/v1.5/")), "v1.5");
    }
}
