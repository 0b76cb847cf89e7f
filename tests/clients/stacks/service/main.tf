# A service of replicas and one of daemons, with every block that both can have here.

terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

provider "aws" {
  default_tags {
    tags = { stack = "clients" }
  }
}

variable "revision" {
  default = "1"
}

variable "image" {
  default = "busybox:1"
}

variable "replicas" {
  type    = number
  default = 2
}

variable "floor" {
  type    = number
  default = 50
}

variable "force" {
  type    = bool
  default = false
}

variable "patience" {
  default = "2m"
}

variable "breaker" {
  type    = bool
  default = true
}

# The provider reads a service's cluster back as an ARN.
data "aws_ecs_cluster" "default" {
  cluster_name = "default"
}

resource "aws_cloudwatch_log_group" "web" {
  name              = "/clients/web"
  retention_in_days = 7
}

resource "aws_ecs_task_definition" "web" {
  family                   = "clients-web"
  network_mode             = "bridge"
  requires_compatibilities = ["EC2"]
  cpu                      = "128"
  memory                   = "32"
  container_definitions = jsonencode([{
    name         = "main"
    image        = var.image
    essential    = true
    command      = ["sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait $!"]
    stopTimeout  = 2
    environment  = [{ name = "REVISION", value = var.revision }, { name = "A", value = "1" }]
    portMappings = [{ containerPort = 80 }]
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        "awslogs-group"         = aws_cloudwatch_log_group.web.name
        "awslogs-region"        = "us-east-1"
        "awslogs-stream-prefix" = "web"
      }
    }
  }])
  tags = { a = "b" }
}

resource "aws_ecs_service" "web" {
  name                               = "clients-web"
  cluster                            = data.aws_ecs_cluster.default.arn
  task_definition                    = aws_ecs_task_definition.web.arn
  desired_count                      = var.replicas
  launch_type                        = "EC2"
  scheduling_strategy                = "REPLICA"
  wait_for_steady_state              = true
  force_new_deployment               = var.force
  deployment_minimum_healthy_percent = var.floor
  deployment_maximum_percent         = 200
  enable_ecs_managed_tags            = true
  propagate_tags                     = "SERVICE"
  availability_zone_rebalancing      = "ENABLED"
  tags                               = { a = "b" }

  deployment_controller {
    type = "ECS"
  }
  deployment_circuit_breaker {
    enable   = var.breaker
    rollback = var.breaker
  }
  ordered_placement_strategy {
    type  = "spread"
    field = "attribute:ecs.availability-zone"
  }
  ordered_placement_strategy {
    type  = "binpack"
    field = "memory"
  }
  placement_constraints {
    type       = "memberOf"
    expression = "attribute:ecs.os-type == linux"
  }
  timeouts {
    create = var.patience
    update = var.patience
  }
  lifecycle {
    ignore_changes = [tags["by-hand"], tags_all["by-hand"]]
    # The provider's 5.x takes a deployment that was rolled back for a success.
    postcondition {
      condition     = self.task_definition == aws_ecs_task_definition.web.arn
      error_message = "The deployment was rolled back."
    }
  }
}

resource "aws_ecs_service" "each" {
  name                  = "clients-each"
  cluster               = data.aws_ecs_cluster.default.arn
  task_definition       = "${aws_ecs_task_definition.each.family}:${aws_ecs_task_definition.each.revision}"
  scheduling_strategy   = "DAEMON"
  launch_type           = "EC2"
  wait_for_steady_state = true
}

resource "aws_ecs_task_definition" "each" {
  family = "clients-each"
  container_definitions = jsonencode([{
    name        = "main"
    image       = "busybox:1"
    memory      = 16
    command     = ["sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait $!"]
    stopTimeout = 2
    environment = [{ name = "REVISION", value = var.revision }]
  }])
}

resource "aws_ecs_tag" "by_hand" {
  resource_arn = aws_ecs_service.web.id
  key          = "by-hand"
  value        = "one"
}

data "aws_ecs_service" "web" {
  cluster_arn  = data.aws_ecs_cluster.default.arn
  service_name = aws_ecs_service.web.name
}

output "seen" {
  value = data.aws_ecs_service.web.task_definition
}
