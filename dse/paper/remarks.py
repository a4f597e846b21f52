"""What explains a verdict, in words, by the claim's id."""

from __future__ import annotations

from collections.abc import Mapping

REMARKS: Mapping[str, str] = {
    "table1.input.output": (
        "A 7x7 filter of stride 2 without padding makes a map of 111 pixels from 227 pixels, the "
        "crop of the authors' files, and a smaller one from 224."
    ),
    "table1.maxpool8.output": "A misprint: the maps are square, as in the next row.",
    "table1.fire8.params_after": (
        "The row prints 33% for e3x3; its count and the table's total need 30%, which fire9 "
        "prints and the released file has."
    ),
    "table1.conv10.authors_output": (
        "The authors' v1.0 file pads conv10 by 1 pixel, so that its map is 2 pixels larger than "
        "the table says (and the average pool covers it all); v1.1 does not pad."
    ),
    "table1.conv10.kept_filter": (
        "The density's label disagrees with the filter column of its own row."
    ),
    "table1.sparsity": (
        "The columns headed sparsity hold the share of weights that pruning keeps, their density, "
        "as the counts of conv10 and of every other row show."
    ),
    "section3.3.pools": (
        "What follows conv10 is the average over the whole map (avgpool10 of Table 1, pool10 of "
        "the files), not a max-pool of stride 2."
    ),
    "section4.sparsity_6bit": (
        "Table 1 keeps a little more (33.7% with the biases). By sparsity the text means density, "
        "the share that is kept."
    ),
    "abstract.fewer_params": (
        "By the count of bvlc_alexnet. 50 is the ratio of Table 2's sizes, where AlexNet's is in "
        "decimal megabytes and SqueezeNet's in MiB."
    ),
    "section3.3.fires": (
        "Every network of the space has eight Fire modules, so that counting them here would show "
        "nothing."
    ),
    "section3.3.1.base_lr": (
        "The published v1.0 weights come from an older solver file, which starts at 0.08."
    ),
    "table2.alexnet.size": (
        "By the rule of SqueezeNet's labels, in MiB. 240 fits decimal megabytes to two digits, so "
        "that the table's ratios mix two units. Han's repository says 233MB."
    ),
    "table2.pruning.size": (
        "27 fits decimal megabytes of the 6.7 million kept weights, again not the unit of "
        "SqueezeNet's labels, and leaves out the indices of a sparse matrix."
    ),
    "table2.squeezenet_8bit.size": (
        "660 KB in the README.md. The released file has 675,763 bytes: 0.676 decimal megabytes, "
        "0.644 MiB, or 660 KiB rounded up."
    ),
    "table2.squeezenet_8bit.ratio": (
        "240 / 0.66 with the fraction dropped; 9x and 35x of the same column are rounded up."
    ),
    "table2.squeezenet_6bit.ratio": (
        "240 / 0.47 with the fraction dropped; 9x and 35x of the same column are rounded up."
    ),
    "table2.squeezenet_6bit.size": (
        "No 6-bit file was released. 6 bits for each parameter that Table 1 keeps and 4-bit "
        "indices for its sparse tensors would be 0.473, but that reading was chosen because it "
        "fits, and with 8 bits it does not give 0.66."
    ),
    "table2.squeezenet_6bit.released_layout": (
        "The released file's own layout (an index for every entry, codebooks, float32 biases), "
        "with codes of 6 instead of 8 bits; no 6-bit file was released."
    ),
    "table2.squeezenet_6bit.plain": (
        "Codes of 6 bits for each weight and bias, 4-bit indices for the sparse tensors only, "
        "fillers for gaps of more than 15 zeros, and codebooks. The codes and indices of weights "
        "that are not 0 alone are 0.472."
    ),
    "table2.squeezenet_6bit.entropy_coded": (
        "A real file of the released weights, clustered again to 63 shared values for each layer: "
        "a network of 6-bit codes with entropy coding would have been much smaller."
    ),
    "table2.squeezenet_6bit.enough": (
        "The smallest file in docs/released.md that keeps the first class of at least 95% of "
        "1,250 images, and whose change of top-1 has 0 in its 95% interval."
    ),
    "table3.simple.top1": "The authors' log of SqueezeNet-Residual has 60.3759.",
    "table3.simple.top5": "The authors' log of SqueezeNet-Residual has 82.4981.",
    "released.entries": (
        "The sum of the 26 counts that the file begins with, as decoded here. No other source "
        "prints it."
    ),
    "released.weights": "As decoded here. No other source prints it.",
    "figure3b.0.375.size": (
        "The one tick of Figure 3's fourteen that is not its size in MiB rounded up."
    ),
    "figure3a.0.5.printed": "The marker is a tenth above the number printed next to it.",
    "figure3.shared": (
        "Section 5.3 says that the 13MB networks of both plots are one architecture; the two "
        "plots draw it at different heights."
    ),
    "section5.2.plateau": (
        "Figure 3(a) draws SR 1.0 a tenth above SR 0.75: one run each, no error bars."
    ),
    "section5.3.plateau": (
        "Figure 3(b) prints and draws less at 50%; the text's number is its 62.5% point."
    ),
    "table3.complex.size": (
        "1x1 convolutions around fire2, fire4, fire6 and fire8 (section 6, Figure 2) add far less "
        "than the label says; around all eight modules they would add more."
    ),
    "v1_1.gflops": (
        "Counted as v1.0's number is: two operations per multiply-accumulate of the convolutions, "
        "227-pixel images. Maps of 13 pixels after pool5, where v1.1's files make 14, would "
        "give the README's number."
    ),
    "v1_1.less_computation": (
        "2.4 is the ratio of the README's own two numbers; that of v1.1 is contradicted above."
    ),
    "section7.dsd": (
        "Against Table 2's 57.5; DSD's own page starts from 57.61, which makes the gain smaller."
    ),
    "zynqnet.params": (
        "The released network has a little more; the last digit is cut off, not rounded."
    ),
    "zynqnet.top5": "It lists an error of 15.4%.",
    "deep_compression.index_bits": (
        "Section 2 gives 5 bits for all dense layers; the other two sections have 4 for AlexNet."
    ),
    "torchvision.v1_0.gmacs": "torchvision calls multiply-accumulates GFLOPS.",
    "torchvision.v1_1.gmacs": "torchvision calls multiply-accumulates GFLOPS.",
}
