//! `mplug pull`: downloads a model of the hub and prints its folder. The work is `mplug_hub`'s; this is its door, and in a
//! build without the feature `hub` it says how to get one.

#[cfg(feature = "hub")]
use anyhow::Context;
use clap::Args;
use clap::builder::FalseyValueParser;

use crate::status::Status;

/// Download a model from ModelScope and print its folder
#[derive(Args, Debug)]
#[command(after_help = "\
Models are stored in the cache of ModelScope's Python clients: MODELSCOPE_CACHE, or else
~/.cache/modelscope. Files that those clients have downloaded are used. Only the files that
mplug needs are downloaded; their sizes and SHA-256 are checked. Run the same command again
to continue a stopped download. --model of the other commands accepts the same names; those
commands never download.

An access token is read from MODELSCOPE_API_TOKEN and sent to the hub only.

Examples:
  mplug pull damo/mplug_image-captioning_coco_base_zh
  mplug pull caption-base-zh
  mplug pull someone/model --revision v1.0.1 --token-env MY_TOKEN
  mplug caption --model \"$(mplug pull caption-base-zh)\" photo.jpg")]
pub(crate) struct PullArgs {
    /// `owner/name`, or a short name (see `mplug models`)
    #[arg(value_name = "MODEL")]
    model: String,
    /// Branch, tag or commit [default: master]
    #[arg(long, value_name = "R")]
    revision: Option<String>,
    /// Address of the hub [default: MODELSCOPE_ENDPOINT, or https://www.modelscope.cn]
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Environment variable with the access token [default: MODELSCOPE_API_TOKEN]
    #[arg(long, value_name = "NAME")]
    token_env: Option<String>,
    /// Do not download; fail if the model is not on this machine
    #[arg(long, env = "MPLUG_OFFLINE", value_parser = FalseyValueParser::new())]
    offline: bool,
}

/// Runs the command.
#[cfg(not(feature = "hub"))]
pub(crate) fn run(args: &PullArgs) -> anyhow::Result<Status> {
    anyhow::bail!("{}: {}", args.model, crate::model::NO_HUB)
}

/// Runs the command.
#[cfg(feature = "hub")]
pub(crate) fn run(args: &PullArgs) -> anyhow::Result<Status> {
    use mplug_hub::Hub;

    use crate::download::DownloadReport;
    use crate::{hint, output, report};

    let id = args.model.parse().map_err(hint::of_hub)?;
    let hub = Hub::new(args.options()?).map_err(hint::of_hub)?;
    let shown = DownloadReport::default();
    let pulled = hub.pull(&id, args.revision.as_deref(), &|event| shown.show(event)).map_err(hint::of_hub)?;
    drop(shown);
    if pulled.downloaded == 0 {
        report::info(format!("{} is on this machine already", pulled.id));
    }
    let mut line = pulled.folder.into_os_string().into_encoded_bytes();
    line.push(b'\n');
    output::write_whole(&line, None)?;
    Ok(Status::Good)
}

#[cfg(feature = "hub")]
impl PullArgs {
    /// What was typed over what the environment says.
    fn options(&self) -> anyhow::Result<mplug_hub::HubOptions> {
        use mplug_hub::{HubOptions, TOKEN_VARIABLE};

        let variable = self.token_env.as_deref().unwrap_or(TOKEN_VARIABLE);
        let mut options = HubOptions::from_env_with_token_in(variable).context(variable.to_owned())?;
        anyhow::ensure!(
            options.token.is_some() || self.token_env.is_none(),
            "`--token-env {variable}`: no such environment variable is set"
        );
        if let Some(endpoint) = &self.endpoint {
            options.endpoint.clone_from(endpoint);
        }
        options.offline = self.offline;
        Ok(options)
    }
}
