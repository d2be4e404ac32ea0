#!/usr/bin/env python3
"""Exports Keras networks by tf2onnx, with random weights and a fixed seed: bench/kerasnets.py FOLDER [NAME...]. Needs tensorflow-cpu and tf2onnx in an environment of their own.
Writes NAME.tf.onnx (operator set 17, batch 1) and NAME.tfb.onnx (operator set 13, any batch); an export that ONNX Runtime does not load is said and left out."""
import os, sys

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="")
import onnxruntime, tensorflow as tf, tf2onnx

K, L, A = tf.keras, tf.keras.layers, tf.keras.applications


def text(rnn):
    i = K.Input((32,), dtype="int32")
    x = L.Bidirectional(rnn(32, return_sequences=True))(L.Embedding(500, 48)(i))
    return K.Model(i, L.Dense(3)(L.Dense(40, activation="relu")(rnn(24)(x))))


def transformer():
    i = x = K.Input((24, 48))
    for _ in range(2):
        y = L.LayerNormalization()(x)
        x = x + L.MultiHeadAttention(4, 12)(y, y)
        x = x + L.Dense(48)(L.Dense(96, activation="swish")(L.LayerNormalization()(x)))
    return K.Model(i, L.Dense(5)(L.GlobalAveragePooling1D()(x)))


def sequence():
    i = x = K.Input((64, 3))
    for d in (1, 2, 4): x = L.Conv1D(32, 3, dilation_rate=d, padding="causal", activation="relu")(x)
    return K.Model(i, L.Dense(5)(L.GlobalMaxPooling1D()(x)))


def mixed():
    """What small vision networks are built of, and transposed convolution, group normalisation and a Flatten."""
    i = K.Input((32, 32, 3))
    x = L.ReLU(6.)(L.BatchNormalization()(L.Conv2D(16, 3, padding="same", use_bias=False)(i)))
    x = L.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(x)
    x = L.LeakyReLU()(L.SeparableConv2D(24, 3, strides=2, padding="same")(x))
    s = L.Dense(6, activation="relu")(L.GlobalAveragePooling2D(keepdims=True)(x))
    x = L.UpSampling2D(2)(x * L.Dense(24, activation="sigmoid")(s))
    x = L.GroupNormalization(4)(L.Conv2DTranspose(12, 3, strides=2, padding="same")(x))
    return K.Model(i, L.Dense(10)(L.Flatten()(L.MaxPool2D(8)(x))))


def image(name, side): return lambda: getattr(A, name)(weights=None, input_shape=(side, side, 3))


NETWORKS = {"densenet121": image("DenseNet121", 64), "efficientnet_b0": image("EfficientNetB0", 96), "efficientnet_v2_b0": image("EfficientNetV2B0", 96), "inception_resnet_v2": image("InceptionResNetV2", 96),
            "mobilenet_v2": image("MobileNetV2", 96), "mobilenet_v3_small": image("MobileNetV3Small", 96), "nasnet_mobile": image("NASNetMobile", 96), "resnet50_v2": image("ResNet50V2", 64), "xception": image("Xception", 96),
            "lstm": lambda: text(L.LSTM), "gru": lambda: text(L.GRU), "transformer": transformer, "sequence": sequence, "mixed": mixed}


def settle(model):
    """Running statistics and vectors as training leaves them, not ones and zeros."""
    for w in model.weights:
        if "variance" in w.path: w.assign(tf.random.uniform(w.shape, 0.75, 1.25))
        elif w.shape.rank == 1: w.assign(w + 0.05 * tf.random.normal(w.shape))


def export(folder, name):
    K.utils.set_random_seed(0)
    model = NETWORKS[name](); settle(model)
    for variant, batch, opset in (("tf", 1, 17), ("tfb", None, 13)):
        path = os.path.join(folder, f"{name}.{variant}.onnx")
        if os.path.exists(path): continue
        signature = [tf.TensorSpec((batch, *model.inputs[0].shape[1:]), model.inputs[0].dtype, name="input")]
        run = tf.function(lambda input: model(input, training=False), input_signature=signature)
        proto, _ = tf2onnx.convert.from_function(run, input_signature=signature, opset=opset)
        try: onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
        except Exception as e: print(f"{name}.{variant}: ONNX Runtime does not load it: {str(e)[:120]!r}", flush=True); continue
        with open(path, "wb") as f: f.write(proto.SerializeToString())
        print(path, flush=True)


if __name__ == "__main__":
    tf.config.threading.set_intra_op_parallelism_threads(1)
    os.makedirs(sys.argv[1], exist_ok=True)
    for name in sys.argv[2:] or NETWORKS: export(sys.argv[1], name)
