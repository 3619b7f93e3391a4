//! stub
/// stub
#[derive(clap::Args, Debug)]
pub(crate) struct ConvertArgs {}
pub(crate) fn run(_: &ConvertArgs) -> anyhow::Result<crate::status::Status> {
    anyhow::bail!("x")
}
