//! The inner loops of the product kernels keep their sums in registers.
//!
//! A tile whose sums are written to memory at every step gives the same bits at half the speed: no test of values can see
//! it, and this one needs no CPU that has the instructions.

use super::assembly::{Function, release_functions};

/// A kernel's tiles: parts of the mangled name of the function that they are compiled into, the products that a tile of one
/// row makes in one step of its loop, and the most rows of a tile.
struct Tiles {
    name: &'static [&'static str],
    products_a_row: usize,
    rows: usize,
}

const TILES: [Tiles; 9] = [
    tiles(&["6avx512", "3F32", "4rowsKj1_"], 1, 12),
    tiles(&["6avx512", "3F32", "4rowsKj2_"], 2, 12),
    tiles(&["6avx512", "4Bf16", "4rowsKj1_"], 1, 12),
    tiles(&["6avx512", "4Bf16", "4rowsKj2_"], 2, 12),
    tiles(&["6avx512", "4Int8", "4rowsKj1_"], 1, 12),
    tiles(&["6avx512", "4Int8", "4rowsKj2_"], 2, 12),
    tiles(&["4avx2", "7run_f32"], 8, 6),
    tiles(&["4avx2", "8run_bf16"], 4, 5),
    tiles(&["4avx2", "8run_int8"], 2, 5),
];

const fn tiles(name: &'static [&'static str], products_a_row: usize, rows: usize) -> Tiles {
    Tiles { name, products_a_row, rows }
}

#[test]
fn no_tile_writes_to_memory_at_every_step() {
    let functions = release_functions();
    for tiles in &TILES {
        let loops = product_loops(functions, |name| tiles.name.iter().all(|part| name.contains(part)));
        for rows in 1..=tiles.rows {
            let products = rows * tiles.products_a_row;
            // The compiler may take several steps of a small tile at once.
            let is_this_tile = |body: &Vec<&str>| is_power_of_two_times(count_products(body), products);
            assert!(
                loops.iter().any(is_this_tile),
                "{:?}: expected a loop of {products} products for the tile of {rows} rows, found loops of {:?}",
                tiles.name,
                loops.iter().map(|body| count_products(body)).collect::<Vec<_>>()
            );
        }
        for body in &loops {
            let stores: Vec<_> =
                body.iter().filter(|text| is_vector_store(text) || is_stack_store(text)).collect();
            assert!(
                stores.is_empty(),
                "{:?}: the loop of {} products stores at every step: {stores:?}",
                tiles.name,
                count_products(body)
            );
        }
    }
}

#[test]
fn no_loop_of_products_spills_a_vector() {
    let functions = release_functions();
    let loops = product_loops(functions, |name| name.contains("mplug_kernels"));
    assert!(loops.len() > 100, "expected the loops of all kernels, found {}", loops.len());
    for body in loops {
        let spills: Vec<_> =
            body.iter().filter(|text| is_vector_store(text) && is_stack_store(text)).collect();
        assert!(spills.is_empty(), "{spills:?} in {body:#?}");
    }
}

/// Innermost loops with products, of the functions that `wanted` picks by name.
fn product_loops(functions: &[Function], wanted: impl Fn(&str) -> bool) -> Vec<Vec<&str>> {
    let wanted = functions.iter().filter(|function| wanted(&function.name));
    wanted.flat_map(Function::innermost_loops).filter(|body| count_products(body) > 0).collect()
}

fn count_products(body: &[&str]) -> usize {
    const PRODUCTS: [&str; 4] = ["vfmadd", "vpdpbusd", "vdpbf16ps", "vpmaddwd"];
    body.iter().filter(|text| PRODUCTS.iter().any(|product| text.starts_with(product))).count()
}

fn is_power_of_two_times(count: usize, products: usize) -> bool {
    count.is_multiple_of(products) && (count / products).is_power_of_two()
}

/// A vector register to memory: `vmovups %zmm1, 64(%rsp)`.
fn is_vector_store(text: &str) -> bool {
    let Some((mnemonic, operands)) = text.split_once(' ') else { return false };
    let from_register = ["%xmm", "%ymm", "%zmm"].iter().any(|register| operands.starts_with(register));
    mnemonic.starts_with("vmov") && from_register && operands.ends_with(')')
}

/// Anything to a fixed offset of the stack: `movq %rax, 8(%rsp)`.
fn is_stack_store(text: &str) -> bool {
    let is_move = text.starts_with("mov") || text.starts_with("vmov");
    is_move && text.ends_with("(%rsp)") || text.starts_with("push")
}

#[test]
fn stores_are_distinguished_from_loads() {
    assert!(is_vector_store("vmovups %zmm1, 64(%rsp)") && is_stack_store("vmovups %zmm1, 64(%rsp)"));
    assert!(is_vector_store("vmovaps %ymm1, (%rbx,%rax)") && !is_stack_store("vmovaps %ymm1, (%rbx,%rax)"));
    assert!(!is_vector_store("vmovups 64(%rsp), %zmm1") && !is_stack_store("movq 8(%rsp), %rax"));
    assert!(is_stack_store("movq %rax, 8(%rsp)"));
}
