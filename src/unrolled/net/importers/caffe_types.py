"""Caffe's layer types that have a counterpart here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from unrolled.net.importers import caffe_functions, caffe_inputs, caffe_losses, caffe_recurrent
from unrolled.net.importers.caffe_blobs import Phase
from unrolled.net.importers.schema import Record


@dataclass(frozen=True)
class Type:
    """A layer type: how it is read, the messages it may hold, how many bottoms and tops it has."""

    read: Callable[[Phase, Record], None]
    blocks: tuple[str, ...] = ()
    bottoms: tuple[int, int | None] = (1, 1)
    tops: tuple[int, int | None] = (1, 1)
    loss: bool = False
    learns: bool = False


TYPES: dict[str, Type] = {
    "HDF5Data": Type(caffe_inputs.hdf5_data, ("hdf5_data_param",), (0, 0), (1, None)),
    "DummyData": Type(caffe_inputs.dummy_data, ("dummy_data_param",), (0, 0), (1, None)),
    "Input": Type(caffe_inputs.input_data, ("input_param",), (0, 0), (1, None)),
    "InnerProduct": Type(caffe_functions.inner_product, ("inner_product_param",), learns=True),
    "Embed": Type(caffe_functions.embed, ("embed_param",), learns=True),
    "Slice": Type(caffe_functions.slice_parts, ("slice_param",), tops=(1, None)),
    "Concat": Type(caffe_functions.concat, ("concat_param",), bottoms=(1, None)),
    "Eltwise": Type(caffe_functions.eltwise, ("eltwise_param",), bottoms=(2, None)),
    "Sigmoid": Type(caffe_functions.same_shape("activation", function="sigmoid"), ("sigmoid_param",)),
    "TanH": Type(caffe_functions.same_shape("activation", function="tanh"), ("tanh_param",)),
    "ReLU": Type(caffe_functions.same_shape("activation", function="relu"), ("relu_param",)),
    "Dropout": Type(caffe_functions.same_shape("dropout"), ("dropout_param",)),
    "Softmax": Type(caffe_functions.softmax, ("softmax_param",)),
    "Split": Type(caffe_functions.split, tops=(1, None)),
    "Reshape": Type(caffe_functions.reshape, ("reshape_param",)),
    "EuclideanLoss": Type(caffe_losses.euclidean_loss, ("loss_param",), (2, 2), (0, 1), loss=True),
    "SoftmaxWithLoss": Type(
        caffe_losses.softmax_loss, ("softmax_param", "loss_param"), (2, 2), (0, 1), loss=True
    ),
    "Accuracy": Type(caffe_losses.accuracy, ("accuracy_param",), (2, 2), (0, 1)),
    "RNN": Type(caffe_recurrent.rnn, ("recurrent_param",), (2, 3), learns=True),
    "LSTM": Type(caffe_recurrent.lstm, ("recurrent_param",), (2, 3), learns=True),
}
"""The layer types that have a counterpart, by their names in Caffe."""
