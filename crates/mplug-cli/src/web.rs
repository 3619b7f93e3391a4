//! `--allow-urls` and its kin: whether and how web addresses among the inputs are opened.

use std::path::Path;

use clap::Args;
use mplug_bulk::Input;

/// Whether and how web addresses are opened.
#[derive(Args, Debug)]
#[command(next_help_heading = "Web addresses")]
pub(crate) struct WebArgs {
    /// Download pictures from http and https addresses
    #[arg(long)]
    allow_urls: bool,
    /// Allow this host to be in a private network; may be repeated
    #[arg(long, value_name = "HOST[:PORT]", requires = "allow_urls")]
    allow_url_host: Vec<String>,
    /// Time limit in seconds for each picture, including redirects and retries
    #[arg(long, value_name = "N", default_value = "30", requires = "allow_urls", value_parser = crate::args::between::<1, 3600>)]
    url_timeout: usize,
}

impl WebArgs {
    /// A picture that was typed alone.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) fn input(&self, path: &Path) -> anyhow::Result<Input> {
        let mut inputs = [Input::alone(path)];
        self.open(&mut inputs)?;
        let [input] = inputs;
        Ok(input)
    }

    /// Makes the web addresses of a list readable, if that was requested.
    ///
    /// # Errors
    /// When an allowed host is none, or this program cannot fetch anything.
    #[cfg(feature = "urls")]
    pub(crate) fn open(&self, inputs: &mut [Input]) -> anyhow::Result<()> {
        use std::sync::Arc;

        use mplug_bulk::{HubFetcher, open_addresses};
        use mplug_data::source::FetchPicture;
        use mplug_hub::fetch::PictureFetcher;

        let Some(options) = self.fetch_options()? else { return Ok(()) };
        let fetcher: Arc<dyn FetchPicture> = Arc::new(HubFetcher(PictureFetcher::new(options)));
        open_addresses(inputs, &fetcher);
        Ok(())
    }

    /// How web addresses are opened, if they are.
    ///
    /// # Errors
    /// When an allowed host is none.
    #[cfg(feature = "urls")]
    pub(crate) fn fetch_options(&self) -> anyhow::Result<Option<mplug_hub::fetch::FetchOptions>> {
        use std::time::Duration;

        use anyhow::Context;

        if !self.allow_urls {
            return Ok(None);
        }
        let mut options = mplug_hub::fetch::FetchOptions::default();
        options.timeout = Duration::from_secs(self.url_timeout as u64);
        for host in &self.allow_url_host {
            options.allowed_hosts.push(host.parse().with_context(|| format!("`--allow-url-host {host}`"))?);
        }
        Ok(Some(options))
    }

    /// Refuses to open web addresses.
    ///
    /// # Errors
    /// When it was requested.
    #[cfg(not(feature = "urls"))]
    pub(crate) fn open(&self, _: &mut [Input]) -> anyhow::Result<()> {
        anyhow::ensure!(
            !self.allow_urls,
            "`--allow-urls`: this mplug was built without downloads (the feature `urls`)"
        );
        Ok(())
    }
}
