//! Gradient checkpointing (Chen et al., arXiv 1604.06174): a block keeps its input alone, and computes everything else again when
//! its gradients are wanted. Half of the visual encoder's forward pass is bought with a fraction of its memory. For the CPU
//! backend; on others a block runs as ever.

use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;

use crate::dropout::Dropout;
use crate::fused::{from_tracked, tracked};
use crate::parameter::{HasParameters, Parameter, detach_all};

/// A block of `N - 1` parameters that can be computed again.
pub(crate) trait Block: HasParameters + Clone + std::fmt::Debug + Send + Sync + 'static {
    /// `(batch · len, width)` -> the same shape.
    fn run(&self, hidden: Tensor<2>, batch: usize, dropout: &Dropout) -> Tensor<2>;
}

/// Runs `block`, whose parameters and input are `N` in all, without keeping what happens inside.
///
/// # Panics
/// If the block has another number of parameters.
pub(crate) fn run_recomputed<const N: usize, B: Block>(
    block: &B,
    hidden: Tensor<2>,
    batch: usize,
    dropout: &Dropout,
) -> Tensor<2> {
    let Some(input) = tracked(&hidden) else { return block.run(hidden, batch, dropout) };
    let mut plain = block.clone();
    let mut nodes = vec![input.node()];
    for parameter in parameters_of(&mut plain) {
        let value = tracked(&parameter.value()).expect("parameters are where the input is");
        nodes.push(value.node());
    }
    let Ok(nodes) = <[_; N]>::try_from(nodes) else { panic!("the block has not {N} parameters and inputs") };
    detach_all(&mut plain);
    let state = State {
        block: plain.clone(),
        input: input.primitive().clone(),
        batch,
        // What the block drops now it must drop again.
        dropout: dropout.fork(),
    };
    let output = plain.run(hidden.without_autodiff(), batch, dropout);
    let output = output.try_into_primitive::<Flex>().expect("computed on the CPU backend");
    let backward = BlockBackward::<B>(std::marker::PhantomData);
    from_tracked(match backward.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(op) => op.finish(state, output),
        OpsKind::UnTracked(op) => op.finish(output),
    })
}

fn parameters_of(block: &mut impl HasParameters) -> Vec<&mut Parameter> {
    let mut parameters = Vec::new();
    block.collect(&mut parameters);
    parameters
}

/// What a block is computed again from.
#[derive(Clone, Debug)]
struct State<B> {
    /// With parameters off the graph.
    block: B,
    input: FlexTensor,
    batch: usize,
    dropout: Dropout,
}

#[derive(Debug)]
struct BlockBackward<B>(std::marker::PhantomData<B>);

impl<const N: usize, B: Block> Backward<Flex, N> for BlockBackward<B> {
    type State = State<B>;

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = Tensor::<2>::from_primitive::<Flex>(grads.consume::<Flex>(&ops.node));
        let State { mut block, input, batch, dropout } = ops.state;
        let mut leaves = Vec::with_capacity(N - 1);
        for parameter in parameters_of(&mut block) {
            parameter.make_leaf();
            leaves.push((!parameter.is_frozen()).then(|| parameter.value()));
        }
        let input = Tensor::<2>::from_primitive::<Flex>(input).autodiff().require_grad();
        let output = block.run(input.clone(), batch, &dropout);
        let mut inner = (output * gradient.autodiff()).sum().backward();
        let mut parents = ops.parents.into_iter();
        let primitive = |tensor: Option<Tensor<2>>| tensor?.try_into_primitive::<Flex>().ok();
        if let (Some(Some(parent)), Some(gradient)) =
            (parents.next(), primitive(input.grad_remove(&mut inner)))
        {
            grads.register::<Flex>(parent.id, gradient);
        }
        for (parent, leaf) in parents.zip(leaves) {
            let gradient =
                leaf.and_then(|leaf| leaf.grad_remove(&mut inner)?.try_into_primitive::<Flex>().ok());
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                grads.register::<Flex>(parent.id, gradient);
            }
        }
    }
}
