package models

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/metaprune/metaprune/onnxio"
	"github.com/metaprune/metaprune/prune/planner"
)

// Options of a new network.
type Options struct {
	Input   []int   // C, H, W
	Classes int     // number of outputs
	Width   float64 // factor on all widths, 0 for 1
	Widths  []int   // widths of the stages (ResNets), blocks (VGG: of the convolutions), layers (MLP); overrides Width
	Seed    uint64
}

func (o Options) scaled(n int) int {
	if o.Width == 0 {
		return n
	}
	return max(int(float64(n)*o.Width+.5), 1)
}

// stages returns the widths of the stages: those given, or the usual ones times Width.
func (o Options) stages(usual ...int) []int {
	if len(o.Widths) == len(usual) {
		return o.Widths
	}
	out := make([]int, len(usual))
	for i, n := range usual {
		out[i] = o.scaled(n)
	}
	return out
}

type recipe func(b *builder, o Options)

var recipes = map[string]recipe{
	"resnet8": cifarResNet(1), "resnet20": cifarResNet(3), "resnet32": cifarResNet(5), "resnet56": cifarResNet(9), "resnet110": cifarResNet(18),
	"resnet18": imageResNet(false, 2, 2, 2, 2), "resnet50": imageResNet(true, 3, 4, 6, 3),
	"vgg16":       vgg(2, 2, 3, 3, 3),
	"vgg19":       vgg(2, 2, 4, 4, 4),
	"mobilenetv2": mobileNetV2,
	"vit":         vit,
	"mlp":         mlp,
}

// Names of the networks that New builds.
func Names() []string { return slices.Sorted(maps.Keys(recipes)) }

// New builds a network with weights drawn from Options.Seed.
func New(name string, o Options) (*onnxio.Model, error) {
	r := recipes[strings.ToLower(name)]
	if r == nil {
		return nil, planner.OneOf("network", name, Names()...)
	}
	if len(o.Input) != 3 || slices.Min(o.Input) < 1 {
		return nil, fmt.Errorf("an input of %v: want three numbers, CxHxW", o.Input)
	}
	if o.Classes < 1 || o.Width < 0 {
		return nil, fmt.Errorf("%d classes and width %g: want at least 1 class and a width above 0", o.Classes, o.Width)
	}
	for _, w := range o.Widths {
		if w < 1 {
			return nil, fmt.Errorf("widths %v: want numbers above 0", o.Widths)
		}
	}
	b := newBuilder(o)
	r(b, o)
	return b.model(name, o)
}

// cifarResNet has three stages of n basic blocks.
func cifarResNet(n int) recipe {
	return func(b *builder, o Options) {
		widths := o.stages(16, 32, 64)
		b.conv("conv1", widths[0], 3, 1, 1)
		b.norm("bn1")
		b.relu()
		for s, w := range widths {
			for k := range n {
				stride := 1
				if s > 0 && k == 0 {
					stride = 2
				}
				b.basic(fmt.Sprintf("layer%d.%d", s+1, k), w, stride)
			}
		}
		b.pooled()
		b.linear("fc", o.Classes)
	}
}

// basic is a block of two 3x3 convolutions with a projection where the shape changes.
func (b *builder) basic(name string, w, stride int) {
	x, in := b.x, b.dims
	b.conv(name+".conv1", w, 3, stride, 1)
	b.norm(name + ".bn1")
	b.relu()
	b.conv(name+".conv2", w, 3, 1, 1)
	b.norm(name + ".bn2")
	b.shortcut(name, x, in, w, stride)
	b.relu()
}

func (b *builder) shortcut(name, x string, in []int, w, stride int) {
	y, out := b.x, b.dims
	b.x, b.dims = x, in
	if stride != 1 || in[0] != w {
		b.conv(name+".shortcut.0", w, 1, stride, 1)
		b.norm(name + ".shortcut.1")
	}
	short := b.x
	b.x, b.dims = y, out
	b.add(short)
}

// imageResNet has a 7x7 stem (3x3 for inputs up to 64 pixels) and four stages.
func imageResNet(bottleneck bool, blocks ...int) recipe {
	return func(b *builder, o Options) {
		widths := o.stages(64, 128, 256, 512)
		if o.Input[1] > 64 {
			b.conv("conv1", widths[0], 7, 2, 1)
			b.norm("bn1")
			b.relu()
			b.maxPool(3, 2, 1)
		} else {
			b.conv("conv1", widths[0], 3, 1, 1)
			b.norm("bn1")
			b.relu()
		}
		for s, n := range blocks {
			for k := range n {
				stride := 1
				if s > 0 && k == 0 {
					stride = 2
				}
				name := fmt.Sprintf("layer%d.%d", s+1, k)
				if bottleneck {
					b.bottleneck(name, widths[s], stride)
				} else {
					b.basic(name, widths[s], stride)
				}
			}
		}
		b.pooled()
		b.linear("fc", o.Classes)
	}
}

func (b *builder) bottleneck(name string, w, stride int) {
	x, in := b.x, b.dims
	b.conv(name+".conv1", w, 1, 1, 1)
	b.norm(name + ".bn1")
	b.relu()
	b.conv(name+".conv2", w, 3, stride, 1)
	b.norm(name + ".bn2")
	b.relu()
	b.conv(name+".conv3", 4*w, 1, 1, 1)
	b.norm(name + ".bn3")
	b.shortcut(name, x, in, 4*w, stride)
	b.relu()
}

// vgg has five blocks of convolutions with pooling between them while the picture is large enough, then one linear layer, as is usual on small pictures.
func vgg(blocks ...int) recipe {
	return func(b *builder, o Options) {
		widths := o.stages(64, 128, 256, 512, 512)
		at := 0
		for s, n := range blocks {
			for range n {
				b.conv(fmt.Sprintf("features.%d", at), widths[s], 3, 1, 1)
				b.norm(fmt.Sprintf("features.%d", at+1))
				b.relu()
				at += 2
			}
			if b.dims[1] >= 2 && b.dims[2] >= 2 && s < len(blocks)-1 {
				b.maxPool(2, 2, 0)
			}
		}
		b.pooled()
		b.linear("classifier", o.Classes)
	}
}

// mobileNetV2 has strides 2 only where the picture stays at 4 pixels or more; inputs up to 64 pixels start with stride 1.
func mobileNetV2(b *builder, o Options) {
	stem := 2
	if o.Input[1] <= 64 {
		stem = 1
	}
	b.conv("features.0.0", o.scaled(32), 3, stem, 1)
	b.norm("features.0.1")
	b.relu6()
	at := 1
	for _, s := range [][4]int{{1, 16, 1, 1}, {6, 24, 2, 2}, {6, 32, 3, 2}, {6, 64, 4, 2}, {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}} {
		for k := range s[2] {
			stride := 1
			if k == 0 && s[3] == 2 && b.dims[1] >= 8 {
				stride = 2
			}
			b.inverted(fmt.Sprintf("features.%d", at), s[0], o.scaled(s[1]), stride)
			at++
		}
	}
	b.conv(fmt.Sprintf("features.%d.0", at), o.scaled(1280), 1, 1, 1)
	b.norm(fmt.Sprintf("features.%d.1", at))
	b.relu6()
	b.pooled()
	b.linear("classifier.1", o.Classes)
}

// inverted is an inverted residual with a depthwise convolution in the middle.
func (b *builder) inverted(name string, expand, out, stride int) {
	x, in := b.x, b.dims
	if expand > 1 {
		b.conv(name+".expand", in[0]*expand, 1, 1, 1)
		b.norm(name + ".expand_bn")
		b.relu6()
	}
	b.conv(name+".depthwise", b.dims[0], 3, stride, b.dims[0])
	b.norm(name + ".depthwise_bn")
	b.relu6()
	b.conv(name+".project", out, 1, 1, 1)
	b.norm(name + ".project_bn")
	if stride == 1 && in[0] == out {
		b.add(x)
	}
}

// mlp has hidden layers of the given widths, 512 and 256 by default.
func mlp(b *builder, o Options) {
	widths := o.Widths
	if widths == nil {
		widths = o.stages(512, 256)
	}
	b.flatten()
	for i, w := range widths {
		b.linear(fmt.Sprintf("fc%d", i+1), w)
		b.relu()
	}
	b.linear(fmt.Sprintf("fc%d", len(widths)+1), o.Classes)
}
