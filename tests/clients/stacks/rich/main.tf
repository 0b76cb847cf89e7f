# A definition with every member that the provider knows and that is here, run once by a data source.

terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

provider "aws" {}

resource "aws_ecs_task_definition" "rich" {
  family             = "clients-rich"
  network_mode       = "bridge"
  pid_mode           = "task"
  ipc_mode           = "task"
  task_role_arn      = "arn:aws:iam::000000000000:role/app"
  execution_role_arn = "arn:aws:iam::000000000000:role/execution"
  cpu                = "256"
  memory             = "512"
  tags               = { a = "b" }

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = "X86_64"
  }
  placement_constraints {
    type       = "memberOf"
    expression = "attribute:ecs.os-type == linux"
  }
  volume {
    name = "managed"
    docker_volume_configuration {
      scope         = "shared"
      autoprovision = true
      driver        = "local"
      labels        = { x = "y" }
    }
  }
  volume {
    name      = "of-the-host"
    host_path = "/tmp"
  }
  volume {
    name = "scratch"
  }

  container_definitions = jsonencode([
    {
      name              = "main", image = "busybox:1", essential = true, cpu = 0
      memoryReservation = 32, stopTimeout = 2, startTimeout = 30, user = "0", hostname = "box"
      entryPoint        = ["sh", "-c"]
      command           = ["trap 'exit 0' TERM; sleep 1000 & wait $!"]
      workingDirectory  = "/tmp"
      mountPoints = [
        { sourceVolume = "managed", containerPath = "/managed", readOnly = false },
        { sourceVolume = "scratch", containerPath = "/scratch" },
      ]
      volumesFrom           = [{ sourceContainer = "side", readOnly = true }]
      environment           = [{ name = "Z", value = "1" }, { name = "A", value = "" }]
      environmentFiles      = [], secrets = [], systemControls = [], links = [], dnsServers = null
      interactive           = false, privileged = false, pseudoTerminal = false
      disableNetworking     = false, readonlyRootFilesystem = true
      dockerLabels          = { a = "b", c = "d" }
      dockerSecurityOptions = ["no-new-privileges"]
      dependsOn             = [{ containerName = "side", condition = "START" }]
      extraHosts            = [{ hostname = "x", ipAddress = "10.0.0.1" }]
      healthCheck           = { command = ["CMD-SHELL", "true"], interval = 5, retries = 3, timeout = 5, startPeriod = 0 }
      restartPolicy         = { enabled = true, ignoredExitCodes = [3], restartAttemptPeriod = 60 }
      ulimits               = [{ name = "nofile", softLimit = 1024, hardLimit = 4096 }]
      versionConsistency    = "disabled"
      linuxParameters = {
        initProcessEnabled = true
        capabilities       = { add = ["SYS_PTRACE"], drop = ["MKNOD"] }
        tmpfs              = [{ containerPath = "/t", size = 16, mountOptions = ["rw"] }]
      }
      logConfiguration = { logDriver = "json-file", options = { "max-size" = "1m", "max-file" = "2" } }
      portMappings = [
        { containerPort = 80, hostPort = 0, protocol = "tcp", name = "http", appProtocol = "http" },
        { containerPort = 53, protocol = "udp" },
        { containerPortRange = "5000-5003", protocol = "udp" },
      ]
    },
    {
      name    = "side", image = "busybox:1", essential = false, memory = 16, stopTimeout = 2
      command = ["sleep", "1000"]
    },
  ])
}

data "aws_ecs_task_execution" "once" {
  cluster         = "default"
  task_definition = aws_ecs_task_definition.rich.arn
  desired_count   = 1
  launch_type     = "EC2"
  started_by      = "clients"
  group           = "clients"
  tags            = { a = "b" }
  overrides {
    cpu    = "256"
    memory = "256"
    container_overrides {
      name    = "main"
      command = ["exit 0"]
      environment {
        key   = "K"
        value = "v"
      }
    }
  }
}

data "aws_ecs_task_definition" "rich" {
  task_definition = aws_ecs_task_definition.rich.family
}

output "revision" {
  value = data.aws_ecs_task_definition.rich.revision
}

output "tasks" {
  value = data.aws_ecs_task_execution.once.task_arns
}
