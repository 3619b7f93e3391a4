//! stub
/// stub
#[derive(clap::Args, Debug)]
pub(crate) struct SynthArgs {}
pub(crate) fn run(_: &SynthArgs) -> anyhow::Result<crate::status::Status> {
    anyhow::bail!("x")
}
